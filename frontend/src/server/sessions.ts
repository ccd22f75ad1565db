import type { AuthContext } from "better-auth"
import { APIError } from "better-auth/api"
import { credentialIsCurrent } from "./credentials"

/** Maximum sessions of one user. Bounds the rows and logout tokens of a request that ends all sessions. */
export const MAX_SESSIONS = 100

type NewSession = Readonly<{ token: string; userId: string }>

/**
 * Check a session that was just created, before its cookie is sent; delete it and throw 401 if it must not exist.
 *
 * A password change, a password reset and an account deletion first write to the database and then delete the sessions.
 * This function reads after the session was written, so no order of the two misses both: either the deletion finds the
 * new session, or this function finds the new password hash or the deletion.
 */
export async function checkNewSession(
  context: AuthContext,
  session: NewSession,
  isBeingDeleted: (userId: string) => Promise<boolean>,
): Promise<void> {
  if (!(await credentialIsCurrent(context, session.userId)) || (await isBeingDeleted(session.userId))) {
    await context.internalAdapter.deleteSession(session.token)
    throw new APIError("UNAUTHORIZED", {
      code: "INVALID_EMAIL_OR_PASSWORD",
      message: "Invalid email or password",
    })
  }
  await endOldestSessions(context, session.userId)
}

/** End the oldest sessions of a user beyond `MAX_SESSIONS`. */
async function endOldestSessions(context: AuthContext, userId: string): Promise<void> {
  const surplus = await context.adapter.findMany<NewSession>({
    model: "session",
    where: [{ field: "userId", value: userId }],
    sortBy: { field: "createdAt", direction: "desc" },
    offset: MAX_SESSIONS,
    limit: MAX_SESSIONS,
  })
  if (surplus.length > 0)
    await context.internalAdapter.deleteSessions(surplus.map((session) => session.token))
}
