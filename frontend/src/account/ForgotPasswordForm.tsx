"use client"

import { Button } from "@radix-ui/themes/components/button"
import { Text } from "@radix-ui/themes/components/text"
import { useState } from "react"
import { useSubmission } from "@/form/useSubmission"
import styles from "./account.module.css"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { EmailField } from "./CredentialFields"

/** Form that requests a password reset link by email. */
export function ForgotPasswordForm() {
  const [sentTo, setSentTo] = useState<string | null>(null)
  const form = useSubmission(async (value) => {
    const email = value("email").trim()
    if (!email) return { field: "email", message: "Enter your email." }
    const { error } = await callAuth(() => authClient.requestPasswordReset({ email }))
    if (!error) setSentTo(email)
    return error
  })
  return (
    <AuthForm form={form}>
      <EmailField form={form} hint="A link to choose a new password is sent to it." />
      <Button type="submit" size="3" loading={form.busy}>
        Send link
      </Button>
      <div aria-live="polite" className={styles.outcome}>
        {sentTo && (
          <Text as="p" size="2">
            If there is an account for {sentTo}, a link is on its way. Look into your mail.
          </Text>
        )}
      </div>
    </AuthForm>
  )
}
