import { AsyncLocalStorage } from "node:async_hooks"
import { nextTraceparent } from "@/trace/traceparent"

/** Data that the modules of this folder record during one request to Better Auth. */
export type RequestState = {
  /** Logout tokens that are being sent because of this request. */
  readonly deliveries: Promise<unknown>[]
  /** The password hash that this request verified or stored last. */
  passwordHash: string | undefined
  /** This request has stored a new password hash. */
  credentialChanged: boolean
  /** The `traceparent` header of the request; undefined if it has none. It may be invalid. */
  readonly traceparent: string | undefined
  /** A statement of this request failed, or no database connection was available for it. */
  statementFailed: boolean
}

const storage = new AsyncLocalStorage<RequestState>()

/** Return the state of the current request (AsyncLocalStorage); undefined outside of one. */
export function requestState(): RequestState | undefined {
  return storage.getStore()
}

/**
 * Return the header that makes a request to the API a part of the trace of the current request; of a new trace if there
 * is none, as for a delivery in the background.
 */
export function traceHeader(): { traceparent: string } {
  return { traceparent: nextTraceparent(requestState()?.traceparent) }
}

/** Run `work` as one request with a state of its own; `traceparent` is that header of the request. */
export async function withRequestState<T>(
  work: (state: RequestState) => Promise<T>,
  traceparent?: string,
): Promise<T> {
  const state: RequestState = {
    deliveries: [],
    passwordHash: undefined,
    credentialChanged: false,
    traceparent,
    statementFailed: false,
  }
  return storage.run(state, () => work(state))
}
