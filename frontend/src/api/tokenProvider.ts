import { decodeJwt } from "jose"
import { nextTraceparent } from "@/trace/traceparent"
import type { Connection } from "./connection"
import { ApiError, errorFromResponse, networkError, SessionEnded, SignInRequired } from "./errors"

/** Milliseconds until a token request counts as failed. */
const TIMEOUT = 10_000
/** Milliseconds before its expiry at which a token is replaced, but not before four fifths of its lifetime. */
const REFRESH_MARGIN = 30_000
/** Minimum milliseconds between two token requests while the session is expired, for all callers together. */
const SESSION_CHECK_INTERVAL = 2_000

type CachedToken = { token: string; refreshAt: number; expiresAt: number }

type Options = {
  url?: string
  /** Returns whether the page has unsaved changes. If so, an expired session can be renewed by a new sign-in. */
  hasUnsavedWork?: () => boolean
  /** Called once, when no token will be issued any more. */
  onEnded?: (error: SessionEnded) => void
}

/**
 * Fetches, caches and refreshes the access token of one user. The token is kept in memory only, never in storage.
 * Concurrent callers share one token request.
 */
export class TokenProvider {
  #cached: CachedToken | undefined
  #pending: Promise<string> | undefined
  #endedError: SessionEnded | undefined
  #signInRequired: { error: SignInRequired; retryAt: number } | undefined
  #signOutReported = false
  #generation = 0
  readonly #userId: string
  readonly #url: string
  readonly #connection: Connection
  readonly #hasUnsavedWork: () => boolean
  readonly #onEnded: (error: SessionEnded) => void

  constructor(
    userId: string,
    connection: Connection,
    { url = "/api/auth/token", hasUnsavedWork = () => false, onEnded = () => undefined }: Options = {},
  ) {
    this.#userId = userId
    this.#url = url
    this.#connection = connection
    this.#hasUnsavedWork = hasUnsavedWork
    this.#onEnded = onEnded
  }

  /**
   * Return a valid access token, from the cache or from the auth server. Throws `SessionEnded` if no token will be
   * issued any more, `SignInRequired` while unsaved changes wait for a new sign-in, and another `ApiError` if the auth
   * server does not respond.
   */
  async get(): Promise<string> {
    const cached = this.#cached
    if (this.#endedError) throw this.#endedError
    if (cached && Date.now() < cached.refreshAt) return cached.token
    if (this.#signInRequired && Date.now() < this.#signInRequired.retryAt) throw this.#signInRequired.error
    try {
      return await this.#fetchOnce()
    } catch (error) {
      // The auth server is unavailable, but the cached token has not expired yet: use it.
      const unavailable = error instanceof ApiError && !(error instanceof SignInRequired)
      if (cached && unavailable && Date.now() < cached.expiresAt) return cached.token
      throw error
    }
  }

  /** Return another token than `rejected`, to which the task API has responded with 401. */
  async refresh(rejected: string): Promise<string> {
    if (this.#cached?.token === rejected) this.#cached = undefined
    return this.get()
  }

  /** Request a token now if the session was expired, to find out whether the user has signed in again. */
  async recheckSession(): Promise<void> {
    if (this.#signInRequired) this.#signInRequired.retryAt = 0
    // The error is ignored here: the requests that wait for a token get it from their own call of `get`.
    await this.get().catch(() => undefined)
  }

  /**
   * Check the report of another tab that the user has signed out. If the auth server confirms it, the session ends here
   * as well, even with unsaved changes: the user has confirmed their loss in the other tab.
   */
  async verifySignOut(): Promise<void> {
    this.#signOutReported = true
    this.clear()
    await this.recheckSession()
  }

  /** Drop the cached token, and do not cache the token of a request that is in progress. */
  clear(): void {
    this.#cached = undefined
    this.#pending = undefined
    this.#generation++
  }

  /** Drop the cached token and make every later `get` throw `error`; return the error of the first call of `end`. */
  end(error: SessionEnded): SessionEnded {
    this.clear()
    if (this.#endedError) return this.#endedError
    this.#endedError = error
    // Wakes up the requests in `waitBeforeRetry` that wait for a new sign-in: their next `get` throws `error`.
    this.#connection.setSignedIn(true)
    this.#onEnded(error)
    return error
  }

  /** Request a token; concurrent callers share the request. */
  #fetchOnce(): Promise<string> {
    if (this.#pending) return this.#pending
    const pending = this.#fetchToken().finally(() => {
      if (this.#pending === pending) this.#pending = undefined
    })
    this.#pending = pending
    return pending
  }

  /** Request a token and cache it, unless `clear` was called meanwhile. Throws as `get` does. */
  async #fetchToken(): Promise<string> {
    const [requestedAt, generation] = [Date.now(), this.#generation]
    const { response, body } = await this.#request()
    if (this.#endedError) throw this.#endedError
    if (response.status === 401) throw this.#handleSessionEnd()
    if (!response.ok) throw errorFromResponse(response, body)
    const token = parseToken(body)
    const { sub, iat, exp } = decodeClaims(token)
    // The session cookie is shared by all tabs, so it may belong to another user who has signed in since.
    if (sub !== this.#userId) throw this.end(new SessionEnded("other-user"))
    // Compute with the lifetime (`exp - iat`) and not with `exp`: the clock of the browser may be wrong.
    const lifetime = exp === undefined ? 0 : (exp - (iat ?? requestedAt / 1000)) * 1000
    if (generation === this.#generation) {
      this.#cached = {
        token,
        refreshAt: requestedAt + lifetime - Math.min(REFRESH_MARGIN, lifetime / 5),
        expiresAt: requestedAt + lifetime,
      }
      this.#signInRequired = undefined
      this.#signOutReported = false
      // Last, because this notifies the waiting requests, which call `get` immediately.
      this.#connection.setSignedIn(true)
    }
    return token
  }

  /** Handle the 401 of the auth server: end for good, or wait for a new sign-in if the page has unsaved changes. */
  #handleSessionEnd(): SessionEnded | SignInRequired {
    if (this.#signOutReported || !this.#hasUnsavedWork()) return this.end(new SessionEnded("expired"))
    const error = new SignInRequired()
    this.#cached = undefined
    this.#signInRequired = { error, retryAt: Date.now() + SESSION_CHECK_INTERVAL }
    this.#connection.setSignedIn(false)
    return error
  }

  /** Send the token request and read its body; throws `ApiError` for a network error. */
  async #request(): Promise<{ response: Response; body: string }> {
    try {
      const response = await fetch(this.#url, {
        credentials: "include",
        cache: "no-store",
        headers: { Accept: "application/json", traceparent: nextTraceparent() },
        signal: AbortSignal.timeout(TIMEOUT),
      })
      return { response, body: await response.text() }
    } catch (cause) {
      this.#connection.setReachable(false)
      throw networkError(cause)
    }
  }
}

/** Return the member `token` of the response body; throws `ApiError` if there is none. */
function parseToken(body: string): string {
  try {
    const { token } = JSON.parse(body) as { token?: unknown }
    if (typeof token === "string") return token
  } catch {
    // Not JSON, for instance an HTML page of a proxy.
  }
  throw invalidTokenResponse()
}

/** Decode the claims of a JWT without verifying its signature; throws `ApiError` if it is malformed. */
function decodeClaims(token: string): { sub?: string; iat?: number; exp?: number } {
  try {
    return decodeJwt(token)
  } catch {
    throw invalidTokenResponse()
  }
}

/** Return the error for a token response that cannot be used. */
function invalidTokenResponse(): ApiError {
  return new ApiError({ status: 500, code: "token", detail: "The response contains no token." })
}
