import type { ComponentProps } from "react"
import styles from "./form.module.css"

/** The browser's own select: on a phone it opens the picker that people know. */
export function Select({ className, ...select }: ComponentProps<"select">) {
  return (
    <span className={`${styles.choice} ${className ?? ""}`}>
      <select {...select} />
    </span>
  )
}
