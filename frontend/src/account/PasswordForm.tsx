"use client"

import { Button } from "@radix-ui/themes/components/button"
import { Text } from "@radix-ui/themes/components/text"
import { useState } from "react"
import { LabeledTextField } from "@/form/Field"
import { ErrorCallout } from "@/form/ErrorCallout"
import { useSubmission } from "@/form/useSubmission"
import { authClient } from "./authClient"
import styles from "./account.module.css"
import { callAuth } from "./callAuth"
import { Section } from "./Section"

/** Section to change the password, which ends all other sessions. */
export function PasswordForm({ email }: { email: string }) {
  const [changed, setChanged] = useState(false)
  const form = useSubmission(async (value, element) => {
    setChanged(false)
    const currentPassword = value("current")
    const newPassword = value("password")
    if (!currentPassword) return { field: "current", message: "Enter your current password." }
    if (!newPassword) return { field: "password", message: "Choose a password." }
    const { error } = await callAuth(() =>
      authClient.changePassword({ currentPassword, newPassword, revokeOtherSessions: true }),
    )
    if (error) return error
    element.reset()
    setChanged(true)
    return null
  })
  return (
    <Section title="Password" description="Changing it signs out all your other devices.">
      <form method="post" noValidate onSubmit={form.onSubmit} className={styles.form}>
        {form.alert && <ErrorCallout>{form.alert}</ErrorCallout>}
        {/* Hidden username, by which password managers find the account. */}
        <input type="text" name="username" autoComplete="username" value={email} readOnly hidden />
        <LabeledTextField
          label="Current password"
          name="current"
          type="password"
          autoComplete="current-password"
          error={form.error("current")}
        />
        <LabeledTextField
          label="New password"
          name="password"
          type="password"
          autoComplete="new-password"
          error={form.error("password")}
        />
        <div className={styles.actions}>
          <Button type="submit" loading={form.busy}>
            Change password
          </Button>
          <Text as="p" size="2" color="gray" aria-live="polite">
            {changed && "Your password is changed."}
          </Text>
        </div>
      </form>
    </Section>
  )
}
