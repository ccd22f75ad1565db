import type { ChangeQueue } from "./changeQueue"

/** Observable count of what a reload of the page would lose: unconfirmed changes and open drafts. */
export class UnsavedWork {
  #discarded = false
  readonly #drafts = new Set<symbol>()
  readonly #listeners = new Set<() => void>()
  readonly #changes: ChangeQueue

  constructor(changes: ChangeQueue) {
    this.#changes = changes
  }

  /** Return the number of unconfirmed changes and open drafts. */
  readonly count = (): number => (this.#discarded ? 0 : this.#changes.unconfirmedCount() + this.#drafts.size)

  /** Call `listener` when the count may have changed, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = this.#changes.subscribe(listener)
    this.#listeners.add(listener)
    return () => {
      unsubscribe()
      this.#listeners.delete(listener)
    }
  }

  /** Count one open draft, until the returned function is called. */
  openDraft(): () => void {
    const draft = Symbol("draft")
    this.#drafts.add(draft)
    this.#notifyListeners()
    return () => {
      this.#drafts.delete(draft)
      this.#notifyListeners()
    }
  }

  /** Set the count to 0 for good: the session has ended, so nothing can be saved and no prompt must be shown. */
  discard(): void {
    this.#discarded = true
    this.#notifyListeners()
  }

  #notifyListeners(): void {
    this.#listeners.forEach((listener) => listener())
  }
}
