import { signJWT } from "better-auth/plugins/jwt"
import type { AuthContext, GenericEndpointContext } from "better-auth"
import { traceHeader } from "./request-state"
import type { Settings } from "./settings"
import { jwtOptions } from "./tokens"

/** Seconds. */
const TOKEN_LIFETIME = 60
/** Milliseconds. */
const TIMEOUT = 10_000

/** A request to the API failed; the message contains the status and the start of the body, or the network error. */
export class ApiRequestError extends Error {
  override name = "ApiFailure"
}

/** Erase all data that the API has of a user. Throws `ApiRequestError`. */
export async function eraseData(context: AuthContext, settings: Settings, userId: string): Promise<void> {
  await requestAsUser(context, settings, userId, { method: "DELETE", path: "", expected: 204 })
}

/** Return whether the API has no task of a user, neither in the list nor in the trash. Throws `ApiRequestError`. */
export async function hasNoData(context: AuthContext, settings: Settings, userId: string): Promise<boolean> {
  const body = await requestAsUser(context, settings, userId, {
    method: "GET",
    path: "/stats",
    expected: 200,
  })
  const { total, trash } = JSON.parse(body) as { total?: unknown; trash?: unknown }
  return total === 0 && trash === 0
}

/**
 * Send one request with a new access token of the user. The token has no `sid`, so it works after all sessions of the
 * user have ended; nothing can end it before it expires.
 */
async function requestAsUser(
  context: AuthContext,
  settings: Settings,
  userId: string,
  { method, path, expected }: { method: string; path: string; expected: number },
): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const token = await signJWT({ context } as GenericEndpointContext, {
    options: jwtOptions(settings),
    payload: { sub: userId, iat: now, exp: now + TOKEN_LIFETIME, jti: crypto.randomUUID() },
  })
  let response: Response
  let body: string
  try {
    response = await fetch(`${settings.apiInternalUrl}/api/${encodeURIComponent(userId)}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...traceHeader() },
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT),
    })
    body = await response.text()
  } catch (error) {
    throw new ApiRequestError(error instanceof Error ? error.message : String(error))
  }
  if (response.status !== expected) throw new ApiRequestError(`${response.status} ${body.slice(0, 300)}`)
  return body
}
