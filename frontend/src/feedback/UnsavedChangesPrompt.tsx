"use client"

import { useEffect } from "react"
import { useUnsavedChanges } from "@/data/hooks"

let asking = true

/** The person has decided to go, and the page is about to be loaded anew: the browser need not ask a second time. */
export function leaveUnasked(): void {
  asking = false
}

/** Has the browser ask before a page is left whose changes have not arrived yet. */
export function UnsavedGuard() {
  const unsaved = useUnsavedChanges() > 0
  useEffect(() => {
    if (!unsaved) return
    const ask = (event: BeforeUnloadEvent) => {
      if (asking) event.preventDefault()
    }
    window.addEventListener("beforeunload", ask)
    return () => window.removeEventListener("beforeunload", ask)
  }, [unsaved])
  return null
}
