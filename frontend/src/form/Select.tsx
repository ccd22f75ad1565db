import type { ComponentProps } from "react"
import styles from "./form.module.css"

/** Styled native <select>, which opens the system's picker on phones. */
export function Select({ className, ...select }: ComponentProps<"select">) {
  return (
    <span className={`${styles.select} ${className ?? ""}`}>
      <select {...select} />
    </span>
  )
}
