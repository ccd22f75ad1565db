import { signJWT } from "better-auth/plugins/jwt"
import type { AuthContext, GenericEndpointContext } from "better-auth"
import type { Settings } from "./settings"
import { jwtOptions } from "./tokens"

export type EndedSession = Readonly<{ sid: string; sub: string }>

/** `refused`: the API will say the same to the same notice. `away`: it may well take it later. */
export type Outcome = Readonly<{ kind: "delivered" } | { kind: "refused" | "away"; reason: string }>

const EVENT = "http://schemas.openid.net/event/backchannel-logout"
const LIFETIME = 120
const TIMEOUT = 2000

/**
 * A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4), signed by the key of the access tokens: the
 * API then trusts it for the same reason. Every try signs a new one, since `jti` may be used once.
 */
export async function logoutNotice(
  context: AuthContext,
  settings: Settings,
  { sid, sub }: EndedSession,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  // The plugin reads nothing but `context` of an endpoint's context.
  return signJWT({ context } as GenericEndpointContext, {
    options: jwtOptions(settings),
    header: { typ: "logout+jwt" },
    payload: { sub, sid, iat: now, exp: now + LIFETIME, jti: crypto.randomUUID(), events: { [EVENT]: {} } },
  })
}

export async function sendNotice(settings: Settings, notice: string): Promise<Outcome> {
  try {
    const response = await fetch(`${settings.apiInternalUrl}/backchannel-logout`, {
      method: "POST",
      body: new URLSearchParams({ logout_token: notice }),
      // A redirect would carry the notice to somebody else.
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT),
    })
    if (response.status === 200) {
      await response.body?.cancel()
      return { kind: "delivered" }
    }
    const answer = (await response.text()).slice(0, 300).replaceAll(/\s+/g, " ")
    const reason = `${response.status} ${answer}`.trim()
    return { kind: response.status >= 500 || response.status === 429 ? "away" : "refused", reason }
  } catch (error) {
    return { kind: "away", reason: rootCause(error) }
  }
}

/** `fetch failed` says nothing; what failed is in its cause. */
function rootCause(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? rootCause(error.cause) || error.message : error.message
}
