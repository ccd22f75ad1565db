import createClient, { type Client } from "openapi-fetch"
import { nextTraceparent } from "@/trace/traceparent"
import type { Connection } from "./connection"
import { errorFromResponse, networkError, SessionEnded } from "./errors"
import type { paths } from "./schema"
import type { TokenProvider } from "./tokenProvider"

export type Api = Client<paths>

/** Milliseconds until a request counts as failed. */
const TIMEOUT = 10_000
/** Statuses with which a proxy reports that the API is unreachable. */
const UNAVAILABLE_STATUSES = [502, 503, 504]

type Options = { url: string; token: TokenProvider; connection: Connection; timeout?: number }

/**
 * Create a typed client of the task API. Every call returns a 2xx or 304 response, or throws `ApiError` or
 * `SessionEnded`. A 401 refreshes the access token once and repeats the request.
 *
 * This wraps `fetch` instead of using a middleware of openapi-fetch, because a middleware cannot send a request twice.
 */
export function createApi({ url, token, connection, timeout = TIMEOUT }: Options): Api {
  /** Send a request with an access token; after a 401 refresh the token once and repeat the request. */
  async function fetchWithToken(request: Request): Promise<Response> {
    const trace = nextTraceparent()
    const firstToken = await token.get()
    const firstResponse = await send(request, firstToken, trace)
    if (firstResponse.status !== 401) return firstResponse
    const secondResponse = await send(request, await token.refresh(firstToken), trace)
    if (secondResponse.status !== 401) return secondResponse
    token.clear()
    throw new SessionEnded("token-rejected")
  }

  /**
   * Send a request with the given token, in the trace of `trace`. Returns the response if it is 2xx, 304 or 401; throws
   * `ApiError` otherwise.
   */
  async function send(request: Request, token: string, trace: string): Promise<Response> {
    // Clone, because a body can be read only once and a 401 makes `fetchWithToken` send this request again.
    const attempt = new Request(request.clone(), {
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeout)]),
    })
    attempt.headers.set("Authorization", `Bearer ${token}`)
    // Causes no preflight that Authorization does not cause anyway.
    attempt.headers.set("traceparent", nextTraceparent(trace))
    const { response, body } = await fetchAndReadBody(attempt, request.signal)
    connection.setReachable(!UNAVAILABLE_STATUSES.includes(response.status))
    if (response.ok || response.status === 304) return new Response(body || null, response)
    if (response.status === 401) return response
    throw errorFromResponse(response, body)
  }

  /** Fetch and read the whole body; throw `ApiError` for a network error, but rethrow if the caller aborted. */
  async function fetchAndReadBody(
    attempt: Request,
    callerSignal: AbortSignal,
  ): Promise<{ response: Response; body: string }> {
    try {
      const response = await fetch(attempt)
      // Read the body inside the try, so that a response that is cut off counts as a network error.
      return { response, body: await response.text() }
    } catch (cause) {
      if (callerSignal.aborted) throw cause
      connection.setReachable(false)
      throw networkError(cause)
    }
  }

  return createClient<paths>({ baseUrl: url, fetch: fetchWithToken })
}
