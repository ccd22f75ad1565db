"use client"

import { Button } from "@radix-ui/themes/components/button"
import { useRouter } from "next/navigation"
import { useSubmission } from "@/form/useSubmission"
import styles from "./account.module.css"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { EmailField, PasswordField } from "./CredentialFields"
import { TextLink } from "./TextLink"

/** Form to sign in with email and password. */
export function SignInForm({ passwordResetEnabled }: { passwordResetEnabled: boolean }) {
  const router = useRouter()
  const form = useSubmission(async (value) => {
    const email = value("email").trim()
    const password = value("password")
    if (!email) return { field: "email", message: "Enter your email." }
    if (!password) return { field: "password", message: "Enter your password." }
    const { error } = await callAuth(() => authClient.signIn.email({ email, password }))
    if (error) return error
    router.replace("/")
    router.refresh()
    return "redirecting"
  })
  return (
    <AuthForm form={form}>
      <EmailField form={form} />
      <PasswordField form={form} name="password" />
      <Button type="submit" size="3" loading={form.busy}>
        Sign in
      </Button>
      {passwordResetEnabled && (
        <p className={styles.forgotPassword}>
          <TextLink href="/forgot-password">Forgot password?</TextLink>
        </p>
      )}
    </AuthForm>
  )
}
