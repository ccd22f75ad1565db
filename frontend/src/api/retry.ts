import type { Connection } from "./connection"
import { ApiError, SignInRequired } from "./errors"

/** Milliseconds before the first retry; doubled for each further one. */
const MIN_DELAY = 400
/** Milliseconds. With the jitter of 20 % at most 3 s, the longest time until the page detects that the API is back. */
const MAX_DELAY = 2500
/** Milliseconds. Upper bound of a `Retry-After` that is obeyed. */
const MAX_RETRY_AFTER = 3_600_000

/** Return whether the same request may succeed later: no response, 429, 502-504, 409 in-flight, or sign-in required. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof SignInRequired) return true
  if (!(error instanceof ApiError)) return false
  return [0, 429, 502, 503, 504].includes(error.status) || error.code === "in-flight"
}

/** Return the milliseconds to wait after `failures` failures in a row, of which `error` is the last. */
export function retryDelay(failures: number, error: unknown): number {
  const backoff = Math.min(MAX_DELAY, MIN_DELAY * 2 ** (failures - 1))
  const retryAfter = error instanceof ApiError ? Math.min(MAX_RETRY_AFTER, (error.retryAfter ?? 0) * 1000) : 0
  // Jitter, so that not all pages send their requests at the same moment after an outage.
  return Math.max(backoff, retryAfter) * (1 + Math.random() * 0.2)
}

/**
 * Repeat an attempt until it succeeds or fails with an error that is not retryable.
 *
 * The retries of TanStack Query pause while the tab is hidden; a user's change has to be sent from a hidden tab as well.
 */
export async function retryUntilAnswered<T>(attempt: () => Promise<T>, connection: Connection): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isRetryable(error)) throw error
      await waitBeforeRetry(retryDelay(failures, error), connection, error)
    }
  }
}

/** Wait, but only until the connection is back, unless the response asked for the delay with `Retry-After`. */
function waitBeforeRetry(milliseconds: number, connection: Connection, error: unknown): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      unsubscribe()
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    const hasRetryAfter = error instanceof ApiError && error.retryAfter !== undefined
    const unsubscribe = connection.subscribe(() => {
      if (!hasRetryAfter && connection.state() === "online") end()
    })
  })
}
