import type { ReactNode } from "react"
import { ErrorCallout } from "@/form/ErrorCallout"
import type { Submission } from "@/form/useSubmission"
import styles from "./account.module.css"

/** Form for credentials: shows the error of the form as a whole above its fields. */
export function AuthForm({ form, children }: { form: Submission; children: ReactNode }) {
  return (
    <form method="post" noValidate onSubmit={form.onSubmit} className={styles.form}>
      {form.alert && <ErrorCallout>{form.alert}</ErrorCallout>}
      {children}
    </form>
  )
}
