import { authClient } from "@/session"
import type { Refusal } from "@/form/submission"
import { load } from "./navigation"
import { ask } from "./refusal"

/** Ends the session, then loads the sign-in page anew, so that nothing of the person stays in memory. */
export async function signOut(endSession: () => void): Promise<Refusal | null> {
  const { refusal } = await ask(() => authClient.signOut())
  if (refusal === "leaving") return null
  if (refusal) return refusal
  endSession()
  load("/sign-in")
  return null
}
