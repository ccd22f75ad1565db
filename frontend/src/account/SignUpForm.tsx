"use client"

import { Button } from "@radix-ui/themes/components/button"
import { useRouter } from "next/navigation"
import { LabeledTextField } from "@/form/Field"
import { useSubmission } from "@/form/useSubmission"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { EmailField, NewPasswordField } from "./CredentialFields"

/** Form to create an account. */
export function SignUpForm() {
  const router = useRouter()
  const form = useSubmission(async (value) => {
    const name = value("name").trim()
    const email = value("email").trim()
    const password = value("password")
    if (!name) return { field: "name", message: "Enter your name." }
    if (!email) return { field: "email", message: "Enter your email." }
    if (!password) return { field: "password", message: "Choose a password." }
    const { error } = await callAuth(() => authClient.signUp.email({ name, email, password }))
    if (error) return error
    router.replace("/")
    router.refresh()
    return "redirecting"
  })
  return (
    <AuthForm form={form}>
      <LabeledTextField label="Name" name="name" autoComplete="name" error={form.error("name")} />
      <EmailField form={form} />
      <NewPasswordField form={form} label="Password" />
      <Button type="submit" size="3" loading={form.busy}>
        Sign up
      </Button>
    </AuthForm>
  )
}
