"use client"

import { useConnectionState } from "@/data/hooks"
import styles from "./feedback.module.css"

const MESSAGES = {
  online: "",
  offline: "You are offline. Your changes are kept and sent when you are back.",
  unavailable: "The task service cannot be reached. Your changes are kept and sent when it is back.",
  expired: "Your session has ended. Sign in again in a new tab; your changes are kept.",
}

/** Banner for a lost connection or an expired session. It overlays the page, so that the layout does not shift. */
export function ConnectionBanner() {
  const state = useConnectionState()
  const text = MESSAGES[state]
  return (
    <div role="status" className={styles.banner} data-shown={text ? "" : undefined}>
      {text}
      {state === "expired" && (
        <>
          {" "}
          {/* In a new tab, because this page holds the unsaved changes. */}
          <a href="/sign-in" target="_blank">
            Sign in
          </a>
        </>
      )}
    </div>
  )
}
