"use client"

import { useEffect } from "react"
import { useUnsavedChanges } from "@/data/hooks"

let enabled = true

/** The person has decided to go, and the page is about to be loaded anew: the browser need not ask a second time. */
export function disableUnloadPrompt(): void {
  enabled = false
}

/** Has the browser ask before a page is left whose changes have not arrived yet. */
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
