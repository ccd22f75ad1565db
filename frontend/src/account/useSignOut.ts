"use client"

import { authClient } from "./authClient"
import type { Refusal } from "@/form/useSubmission"
import { useEndSession, useUnsavedChanges } from "@/data/hooks"
import { leaveUnasked } from "@/feedback/UnsavedChangesPrompt"
import { load } from "./loadPage"
import { ask } from "./callAuth"

const question = "Some changes are not saved yet and would be lost. Sign out anyway?"

/** Ends the session, then loads the sign-in page anew, so that nothing of the person stays in memory. */
export function useSignOut(): () => Promise<Refusal | null> {
  const unsaved = useUnsavedChanges() > 0
  const endSession = useEndSession()
  return async () => {
    if (unsaved && !window.confirm(question)) return null
    const { refusal } = await ask(() => authClient.signOut())
    if (refusal === "leaving") return null
    if (refusal) return refusal
    endSession()
    leaveUnasked()
    load("/sign-in")
    return null
  }
}
