"use client"

import { useEffect } from "react"
import { useUnsavedChanges } from "./queries"

/** Has the browser ask before a page is left whose changes have not arrived yet. */
export function UnsavedGuard() {
  const unsaved = useUnsavedChanges() > 0
  useEffect(() => {
    if (!unsaved) return
    const ask = (event: BeforeUnloadEvent) => event.preventDefault()
    window.addEventListener("beforeunload", ask)
    return () => window.removeEventListener("beforeunload", ask)
  }, [unsaved])
  return null
}
