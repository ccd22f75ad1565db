"use client"

import { useConnectionState } from "@/data/hooks"
import styles from "./feedback.module.css"

const messages = {
  online: "",
  offline: "You are offline. Your changes are kept and sent when you are back.",
  away: "The task service cannot be reached. Your changes are kept and sent when it is back.",
  expired: "Your session has ended. Sign in again in a new tab; your changes are kept.",
}

/** Lies over the page, so that nothing moves when it comes and goes. */
export function ConnectionBanner() {
  const state = useConnectionState()
  const text = messages[state]
  return (
    <div role="status" className={styles.banner} data-shown={text ? "" : undefined}>
      {text}
      {state === "expired" && (
        <>
          {" "}
          {/* Another tab, because with this one what is typed would go. */}
          <a href="/sign-in" target="_blank">
            Sign in
          </a>
        </>
      )}
    </div>
  )
}
