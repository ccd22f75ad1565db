import type { Connection } from "./connection"
import { ApiError, SessionExpired } from "./errors"

const FIRST_DELAY = 400
/** With the spread on top at most three seconds: no longer shall the page lie idle once the service is back. */
const LONGEST_DELAY = 2500
const LONGEST_WISH = 3_600_000

/** Whether the same request may succeed later: nobody has said anything against it. */
export function isTemporary(error: unknown): boolean {
  if (error instanceof SessionExpired) return true
  if (!(error instanceof ApiError)) return false
  return [0, 429, 502, 503, 504].includes(error.status) || error.code === "in-flight"
}

/** Milliseconds to wait after so many failures in a row, the last of them this one. */
export function delayAfter(failures: number, error: unknown): number {
  const backoff = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (failures - 1))
  const wished = error instanceof ApiError ? Math.min(LONGEST_WISH, (error.retryAfter ?? 0) * 1000) : 0
  // Spread, so that not all pages come back in the same instant after an outage.
  return Math.max(backoff, wished) * (1 + Math.random() * 0.2)
}

/**
 * Repeat an attempt until the service has said yes or no.
 *
 * TanStack's own retries stand still while the tab is hidden. What a person has changed must not wait for them to look.
 */
export async function persist<T>(attempt: () => Promise<T>, connection: Connection): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isTemporary(error)) throw error
      await pause(delayAfter(failures, error), connection, error)
    }
  }
}

/** Ends early when the service or the session is found to be back, unless it asked for the time itself. */
function pause(milliseconds: number, connection: Connection, error: unknown): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      ignore()
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    const asked = error instanceof ApiError && error.retryAfter !== undefined
    const ignore = connection.subscribe(() => {
      if (!asked && connection.reach() === "online") end()
    })
  })
}
