import { onlineManager } from "@tanstack/react-query"

/**
 * `offline`: the browser has no network. `unavailable`: it has one, but the last request to the task API or to the auth
 * server got no response. `expired`: the user has to sign in again.
 */
export type ConnectionState = "online" | "offline" | "unavailable" | "expired"

/**
 * Observable state of the connection to the task API and the auth server, set from the outcome of the last request:
 * `navigator.onLine` does not show whether a server responds.
 */
export class Connection {
  #reachable = true
  #signedIn = true
  readonly #listeners = new Set<() => void>()

  /** Return the current state. */
  readonly state = (): ConnectionState => {
    if (!onlineManager.isOnline()) return "offline"
    if (!this.#signedIn) return "expired"
    return this.#reachable ? "online" : "unavailable"
  }

  /** Call `listener` on every change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = onlineManager.subscribe(listener)
    this.#listeners.add(listener)
    return () => {
      unsubscribe()
      this.#listeners.delete(listener)
    }
  }

  /** Record whether the last request got a response from a server. */
  setReachable(reachable: boolean): void {
    if (reachable === this.#reachable) return
    this.#reachable = reachable
    this.#notifyListeners()
  }

  /** Record whether the user has a session. Without one, unsaved changes wait until the user has signed in again. */
  setSignedIn(signedIn: boolean): void {
    if (signedIn === this.#signedIn) return
    this.#signedIn = signedIn
    this.#notifyListeners()
  }

  #notifyListeners(): void {
    this.#listeners.forEach((listener) => listener())
  }
}
