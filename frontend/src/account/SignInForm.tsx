"use client"

import { Button } from "@radix-ui/themes/components/button"
import { useRouter } from "next/navigation"
import { LabeledTextField } from "@/form/Field"
import { ErrorCallout } from "@/form/ErrorCallout"
import { useSubmission } from "@/form/useSubmission"
import { authClient } from "./authClient"
import styles from "./account.module.css"
import { callAuth } from "./callAuth"
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
    <form method="post" noValidate onSubmit={form.onSubmit} className={styles.form}>
      {form.alert && <ErrorCallout>{form.alert}</ErrorCallout>}
      <LabeledTextField
        label="Email"
        name="email"
        type="email"
        autoComplete="email"
        error={form.error("email")}
      />
      <LabeledTextField
        label="Password"
        name="password"
        type="password"
        autoComplete="current-password"
        error={form.error("password")}
      />
      <Button type="submit" size="3" loading={form.busy}>
        Sign in
      </Button>
      {passwordResetEnabled && (
        <p className={styles.forgotPassword}>
          <TextLink href="/forgot-password">Forgot password?</TextLink>
        </p>
      )}
    </form>
  )
}
