"use client"

import { useConnection } from "./queries"
import styles from "./tasks.module.css"

const sentences = {
  online: "",
  offline: "You are offline. Your changes are kept and sent when you are back.",
  away: "The task service cannot be reached. Your changes are kept and sent when it is back.",
}

/** Lies over the page, so that nothing moves when it comes and goes. */
export function ConnectionBanner() {
  const text = sentences[useConnection()]
  return (
    <div role="status" className={styles.banner} data-shown={text ? "" : undefined}>
      {text}
    </div>
  )
}
