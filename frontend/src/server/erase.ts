import { APIError } from "better-auth/api"
import { signJWT } from "better-auth/plugins/jwt"
import type { AuthContext, GenericEndpointContext } from "better-auth"
import type { Settings } from "./settings"
import { jwtOptions } from "./tokens"

const LIFETIME = 60
const TIMEOUT = 10_000

/**
 * Erases everything the API holds of a person, as that person, before the account goes: afterwards nobody could sign
 * in to do it. Throws when it was not done, and then the account stays.
 */
export async function eraseTasks(context: AuthContext, settings: Settings, userId: string): Promise<void> {
  const now = Math.floor(Date.now() / 1000)
  const token = await signJWT({ context } as GenericEndpointContext, {
    options: jwtOptions(settings),
    payload: { sub: userId, iat: now, exp: now + LIFETIME, jti: crypto.randomUUID() },
  })
  let reason: string
  try {
    const response = await fetch(`${settings.apiInternalUrl}/api/${encodeURIComponent(userId)}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${token}` },
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT),
    })
    if (response.status === 204) return
    reason = `${response.status} ${(await response.text()).slice(0, 300)}`
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error)
  }
  console.error(`The tasks of an account that is to be deleted could not be erased: ${reason}`)
  throw new APIError("SERVICE_UNAVAILABLE", {
    code: "TASKS_NOT_ERASED",
    message: "Your tasks could not be erased, so your account was not deleted. Please try again shortly.",
  })
}
