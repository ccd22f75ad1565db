import { signJWT } from "better-auth/plugins/jwt"
import type { AuthContext, GenericEndpointContext } from "better-auth"
import { traceHeader } from "./request-state"
import type { Settings } from "./settings"
import { jwtOptions } from "./tokens"

/** Session id and user id of an ended session. */
export type EndedSession = Readonly<{ sid: string; sub: string }>

/** `refused`: permanent failure (4xx). `unavailable`: transient failure (network error, 5xx or 429); retry soon. */
export type DeliveryResult = Readonly<
  { kind: "delivered" } | { kind: "refused" | "unavailable"; reason: string }
>

const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
/** Seconds. */
const LIFETIME = 120
/** Milliseconds. */
const TIMEOUT = 2000

/**
 * Create a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4), signed with the key of the access tokens,
 * which the API trusts. Each attempt needs a new one, because the API accepts a `jti` once.
 */
export async function createLogoutToken(
  context: AuthContext,
  settings: Settings,
  { sid, sub }: EndedSession,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  // Of an endpoint's context the plugin reads the member `context` only.
  return signJWT({ context } as GenericEndpointContext, {
    options: jwtOptions(settings),
    header: { typ: "logout+jwt" },
    payload: {
      sub,
      sid,
      iat: now,
      exp: now + LIFETIME,
      jti: crypto.randomUUID(),
      events: { [LOGOUT_EVENT]: {} },
    },
  })
}

/** Send a logout token to `POST /backchannel-logout` of the API. Never rejects. */
export async function sendLogoutToken(settings: Settings, token: string): Promise<DeliveryResult> {
  try {
    const response = await fetch(`${settings.apiInternalUrl}/backchannel-logout`, {
      method: "POST",
      headers: traceHeader(),
      body: new URLSearchParams({ logout_token: token }),
      // Do not follow redirects, which would send the token to another server.
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT),
    })
    if (response.status === 200) {
      await response.body?.cancel()
      return { kind: "delivered" }
    }
    const body = (await response.text()).slice(0, 300).replaceAll(/\s+/g, " ")
    const reason = `${response.status} ${body}`.trim()
    return { kind: response.status >= 500 || response.status === 429 ? "unavailable" : "refused", reason }
  } catch (error) {
    return { kind: "unavailable", reason: rootCause(error) }
  }
}

/** Return the message of the innermost cause: `fetch` itself reports "fetch failed" only. */
function rootCause(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? rootCause(error.cause) || error.message : error.message
}
