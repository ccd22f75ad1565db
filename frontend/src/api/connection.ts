import { onlineManager } from "@tanstack/react-query"

/** `away`: the browser has a network, the services do not answer. `expired`: the person has to sign in again. */
export type Reach = "online" | "offline" | "away" | "expired"

/** Whether the services answer, told by the outcome of the last request: a browser with a network may still be alone. */
export class Connection {
  #answering = true
  #session = true
  readonly #listeners = new Set<() => void>()

  readonly reach = (): Reach => {
    if (!onlineManager.isOnline()) return "offline"
    if (!this.#session) return "expired"
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
    this.#tell()
  }

  /** Whether there is a session to ask in; without one, what is unsaved waits for it. */
  noteSession(there: boolean): void {
    if (there === this.#session) return
    this.#session = there
    this.#tell()
  }

  #tell(): void {
    this.#listeners.forEach((listener) => listener())
  }
}
