"use client"

import { authClient } from "./authClient"
import type { FormError } from "@/form/useSubmission"
import { useEndSession, useUnsavedChanges } from "@/data/hooks"
import { disableUnloadPrompt } from "@/feedback/UnsavedChangesPrompt"
import { loadPage } from "./loadPage"
import { callAuth } from "./callAuth"

const CONFIRM_MESSAGE = "Some changes are not saved yet and would be lost. Sign out anyway?"

/** Ends the session, then loads the sign-in page anew, so that nothing of the person stays in memory. */
export function useSignOut(): () => Promise<FormError | null> {
  const unsaved = useUnsavedChanges() > 0
  const endSession = useEndSession()
  return async () => {
    if (unsaved && !window.confirm(CONFIRM_MESSAGE)) return null
    const { refusal } = await callAuth(() => authClient.signOut())
    if (refusal === "leaving") return null
    if (refusal) return refusal
    endSession()
    disableUnloadPrompt()
    loadPage("/sign-in")
    return null
  }
}
