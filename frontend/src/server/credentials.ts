import type { AuthContext } from "better-auth"
import { APIError } from "better-auth/api"
import { verifyPassword } from "better-auth/crypto"
import { requestState } from "./request-state"

/** Verify a password, and record the hash that it was verified against in the state of the request. */
export async function verifyAndRecord(given: { hash: string; password: string }): Promise<boolean> {
  const valid = await verifyPassword(given)
  const state = requestState()
  if (valid && state) state.credential = given.hash
  return valid
}

/** Record the password hash of a new account in the state of the request. */
export function recordNewCredential(account: { password?: string | null | undefined }): void {
  const state = requestState()
  if (state && account.password) state.credential = account.password
}

/**
 * Whether the password hash that this request verified or stored is still the one of the account.
 *
 * Verifying a password takes about 100 ms, in which a password reset can store another hash and delete all sessions.
 * A session that is created after that deletion would survive the reset.
 */
export async function credentialIsCurrent(context: AuthContext, userId: string): Promise<boolean> {
  const { credential } = requestState() ?? {}
  if (credential === undefined) return true
  const account = await context.internalAdapter.findCredentialAccount(userId)
  return account?.password === credential
}

/**
 * Store a new password hash only if the account still has the hash that this request verified (compare and swap).
 *
 * Otherwise a change with the old password that runs during a reset would overwrite the password of the reset. Returns
 * false, which tells Better Auth not to update the row itself, after storing; undefined where no password was verified,
 * as in a reset, which Better Auth then stores. Throws 400 if the hash has changed.
 */
export async function swapCredential(
  context: AuthContext,
  userId: string | undefined,
  update: { password?: string | null | undefined },
): Promise<false | undefined> {
  const state = requestState()
  if (!update.password || state === undefined) return undefined
  const verified = state.credential
  if (verified === undefined || userId === undefined) {
    state.credentialChanged = true
    return undefined
  }
  const stored = await context.adapter.updateMany({
    model: "account",
    where: [
      { field: "userId", value: userId },
      { field: "password", value: verified },
    ],
    update: { password: update.password, updatedAt: new Date() },
  })
  if (stored === 0)
    throw new APIError("BAD_REQUEST", { code: "INVALID_PASSWORD", message: "Invalid password" })
  state.credential = update.password
  state.credentialChanged = true
  return false
}
