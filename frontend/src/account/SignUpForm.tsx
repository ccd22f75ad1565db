"use client"

import { Button } from "@radix-ui/themes/components/button"
import { useRouter } from "next/navigation"
import { LabeledTextField } from "@/form/Field"
import { ErrorCallout } from "@/form/ErrorCallout"
import { useSubmission } from "@/form/useSubmission"
import { authClient } from "./authClient"
import styles from "./account.module.css"
import { callAuth } from "./callAuth"

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
    <form method="post" noValidate onSubmit={form.onSubmit} className={styles.form}>
      {form.alert && <ErrorCallout>{form.alert}</ErrorCallout>}
      <LabeledTextField label="Name" name="name" autoComplete="name" error={form.error("name")} />
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
        autoComplete="new-password"
        error={form.error("password")}
      />
      <Button type="submit" size="3" loading={form.busy}>
        Sign up
      </Button>
    </form>
  )
}
