import { LabeledTextField } from "@/form/Field"
import type { Submission } from "@/form/useSubmission"

/** Email field, named `email`. */
export function EmailField({ form, hint }: { form: Submission; hint?: string }) {
  return (
    <LabeledTextField
      label="Email"
      name="email"
      type="email"
      autoComplete="email"
      error={form.error("email")}
      hint={hint}
    />
  )
}

/** Field for the current password. `name`: `current` where a form also has a new one, or `password`. */
export function PasswordField({ form, name, label = "Password" }: PasswordFieldProps) {
  return (
    <LabeledTextField
      label={label}
      name={name}
      type="password"
      autoComplete="current-password"
      error={form.error(name)}
    />
  )
}

/** Field for a new password, named `password`. */
export function NewPasswordField({ form, label }: { form: Submission; label: string }) {
  return (
    <LabeledTextField
      label={label}
      name="password"
      type="password"
      autoComplete="new-password"
      error={form.error("password")}
    />
  )
}

type PasswordFieldProps = { form: Submission; name: "current" | "password"; label?: string }
