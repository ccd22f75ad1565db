"use client"

import { Button } from "@radix-ui/themes/components/button"
import { Text } from "@radix-ui/themes/components/text"
import { useState } from "react"
import { useSubmission } from "@/form/useSubmission"
import styles from "./account.module.css"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { NewPasswordField, PasswordField } from "./CredentialFields"
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
      <AuthForm form={form}>
        {/* Hidden username, by which password managers find the account. */}
        <input type="text" name="username" autoComplete="username" value={email} readOnly hidden />
        <PasswordField form={form} name="current" label="Current password" />
        <NewPasswordField form={form} label="New password" />
        <div className={styles.actions}>
          <Button type="submit" loading={form.busy}>
            Change password
          </Button>
          <Text as="p" size="2" color="gray" aria-live="polite">
            {changed && "Your password is changed."}
          </Text>
        </div>
      </AuthForm>
    </Section>
  )
}
