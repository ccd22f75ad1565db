import { AsyncLocalStorage } from "node:async_hooks"

/** Data that the modules of this folder record during one request to Better Auth. */
export type RequestState = {
  /** Logout tokens that are being sent because of this request. */
  readonly deliveries: Promise<unknown>[]
  /** The password hash that this request verified or stored last. */
  passwordHash: string | undefined
  /** This request has stored a new password hash. */
  credentialChanged: boolean
  /** A statement of this request failed, or no database connection was available for it. */
  statementFailed: boolean
}

const storage = new AsyncLocalStorage<RequestState>()

/** Return the state of the current request (AsyncLocalStorage); undefined outside of one. */
export function requestState(): RequestState | undefined {
  return storage.getStore()
}

/** Run `work` as one request with a state of its own. */
export async function withRequestState<T>(work: (state: RequestState) => Promise<T>): Promise<T> {
  const state: RequestState = {
    deliveries: [],
    passwordHash: undefined,
    credentialChanged: false,
    statementFailed: false,
  }
  return storage.run(state, () => work(state))
}
