import createClient, { type Client } from "openapi-fetch"
import type { Connection } from "./connection"
import { SessionOver, refusal, unanswered } from "./errors"
import type { paths } from "./schema"
import type { AccessToken } from "./tokenProvider"

export type Api = Client<paths>

const TIMEOUT = 10_000
const AWAY = [502, 503, 504]

type Options = { url: string; token: AccessToken; connection: Connection; timeout?: number }

/**
 * The task service. Every call is answered with what was asked for (or 304), or throws `ApiError` or `SessionOver`.
 *
 * This wraps `fetch` and is no middleware of openapi-fetch, because a middleware cannot send a request twice.
 */
export function createApi({ url, token, connection, timeout = TIMEOUT }: Options): Api {
  async function authorized(request: Request): Promise<Response> {
    const first = await token.get()
    const answer = await send(request, first)
    if (answer.status !== 401) return answer
    const second = await send(request, await token.renew(first))
    if (second.status !== 401) return second
    token.drop()
    throw new SessionOver("refused")
  }

  async function send(request: Request, bearer: string): Promise<Response> {
    // A body can be read once, and this request may have to be sent again.
    const attempt = new Request(request.clone(), {
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeout)]),
    })
    attempt.headers.set("Authorization", `Bearer ${bearer}`)
    const { response, body } = await answered(attempt, request.signal)
    connection.note(!AWAY.includes(response.status))
    if (response.ok || response.status === 304) return new Response(body || null, response)
    if (response.status === 401) return response
    throw refusal(response, body)
  }

  async function answered(
    attempt: Request,
    ours: AbortSignal,
  ): Promise<{ response: Response; body: string }> {
    try {
      const response = await fetch(attempt)
      // Read here, so that an answer that breaks off counts as none.
      return { response, body: await response.text() }
    } catch (cause) {
      if (ours.aborted) throw cause
      connection.note(false)
      throw unanswered(cause)
    }
  }

  return createClient<paths>({ baseUrl: url, fetch: authorized })
}
