import { onlineManager } from "@tanstack/react-query"

export type Reach = "online" | "offline" | "away"

/** Whether the services answer, told by the outcome of the last request: a browser with a network may still be alone. */
export class Connection {
  #answering = true
  readonly #listeners = new Set<() => void>()

  /** `away`: the browser has a network, the services do not answer. */
  readonly reach = (): Reach => {
    if (!onlineManager.isOnline()) return "offline"
    return this.#answering ? "online" : "away"
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const ignore = onlineManager.subscribe(listener)
    this.#listeners.add(listener)
    return () => {
      ignore()
      this.#listeners.delete(listener)
    }
  }

  note(answering: boolean): void {
    if (answering === this.#answering) return
    this.#answering = answering
    this.#listeners.forEach((listener) => listener())
  }
}
