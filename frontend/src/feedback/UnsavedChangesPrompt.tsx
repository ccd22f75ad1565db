"use client"

import { useEffect } from "react"
import { useUnsavedChanges } from "@/data/hooks"

let enabled = true

/** Suppress the `beforeunload` prompt for a deliberate page load (sign-out, account deletion). */
export function disableUnloadPrompt(): void {
  enabled = false
}

/** Makes the browser ask before it leaves the page while there are unsaved changes (`beforeunload`). */
export function UnsavedChangesPrompt() {
  const unsaved = useUnsavedChanges() > 0
  useEffect(() => {
    if (!unsaved) return
    const prompt = (event: BeforeUnloadEvent) => {
      if (enabled) event.preventDefault()
    }
    window.addEventListener("beforeunload", prompt)
    return () => window.removeEventListener("beforeunload", prompt)
  }, [unsaved])
  return null
}
