import type { AuthContext } from "better-auth"
import { APIError } from "better-auth/api"
import { verifyPassword } from "better-auth/crypto"
import { requestState } from "./request-state"

/** Verify a password, and record the hash that it was verified against in the state of the request. */
export async function verifyAndRecord(input: { hash: string; password: string }): Promise<boolean> {
  const valid = await verifyPassword(input)
  const state = requestState()
  if (valid && state) state.passwordHash = input.hash
  return valid
}

/** Record the password hash of a new account in the state of the request. */
export function recordNewCredential(account: { password?: string | null | undefined }): void {
  const state = requestState()
  if (state && account.password) state.passwordHash = account.password
}

/**
 * Return whether the password hash that this request verified or stored is still that of the account.
 *
 * Verifying a password takes about 100 ms, in which a password reset can store another hash and delete all sessions.
 * A session that is created after that deletion would survive the reset.
 */
export async function credentialIsCurrent(context: AuthContext, userId: string): Promise<boolean> {
  const { passwordHash } = requestState() ?? {}
  if (passwordHash === undefined) return true
  const account = await context.internalAdapter.findCredentialAccount(userId)
  return account?.password === passwordHash
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
  const verifiedHash = state.passwordHash
  if (verifiedHash === undefined || userId === undefined) {
    state.credentialChanged = true
    return undefined
  }
  const updatedRows = await context.adapter.updateMany({
    model: "account",
    where: [
      { field: "userId", value: userId },
      { field: "password", value: verifiedHash },
    ],
    update: { password: update.password, updatedAt: new Date() },
  })
  if (updatedRows === 0)
    throw new APIError("BAD_REQUEST", { code: "INVALID_PASSWORD", message: "Invalid password" })
  state.passwordHash = update.password
  state.credentialChanged = true
  return false
}
