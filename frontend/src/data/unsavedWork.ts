import type { Changes } from "./changeQueue"

/** What would be lost with this page: changes that are not confirmed yet, and edits that are open. */
export class Unsaved {
  #abandoned = false
  readonly #drafts = new Set<symbol>()
  readonly #listeners = new Set<() => void>()
  readonly #changes: Changes

  constructor(changes: Changes) {
    this.#changes = changes
  }

  readonly count = (): number => (this.#abandoned ? 0 : this.#changes.unsaved() + this.#drafts.size)

  readonly subscribe = (listener: () => void): (() => void) => {
    const ignore = this.#changes.subscribe(listener)
    this.#listeners.add(listener)
    return () => {
      ignore()
      this.#listeners.delete(listener)
    }
  }

  /** Something is being typed, until the returned function is called. */
  draft(): () => void {
    const draft = Symbol("draft")
    this.#drafts.add(draft)
    this.#tell()
    return () => {
      this.#drafts.delete(draft)
      this.#tell()
    }
  }

  /** Nothing of it can be saved any more, so nobody needs to be asked about it. */
  abandon(): void {
    this.#abandoned = true
    this.#tell()
  }

  #tell(): void {
    this.#listeners.forEach((listener) => listener())
  }
}
