"use client"

import { useEndSession, useUnsavedChanges } from "@/data/hooks"
import { disableUnloadPrompt } from "@/feedback/UnsavedChangesPrompt"
import type { FormError } from "@/form/useSubmission"
import { authClient } from "./authClient"
import { callAuth } from "./callAuth"
import { loadPage } from "./loadPage"

const CONFIRM_MESSAGE = "Some changes are not saved yet and would be lost. Sign out anyway?"

/**
 * Return a function that signs out and loads the sign-in page; it asks for confirmation while changes are unsaved. Returns
 * the error if the sign-out failed, null if it succeeded or was canceled.
 */
export function useSignOut(): () => Promise<FormError | null> {
  const unsaved = useUnsavedChanges() > 0
  const endSession = useEndSession()
  return async () => {
    if (unsaved && !window.confirm(CONFIRM_MESSAGE)) return null
    const { error } = await callAuth(() => authClient.signOut())
    if (error === "redirecting") return null
    if (error) return error
    endSession()
    disableUnloadPrompt()
    loadPage("/sign-in")
    return null
  }
}
