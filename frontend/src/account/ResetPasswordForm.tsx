"use client"

import { Button } from "@radix-ui/themes/components/button"
import { useRouter } from "next/navigation"
import { useSubmission } from "@/form/useSubmission"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { NewPasswordField } from "./CredentialFields"

/** Form that sets a new password with the token of a reset link. */
export function ResetPasswordForm({ token }: { token: string }) {
  const router = useRouter()
  const form = useSubmission(async (value) => {
    const newPassword = value("password")
    if (!newPassword) return { field: "password", message: "Choose a password." }
    const { error } = await callAuth(() => authClient.resetPassword({ newPassword, token }))
    if (error) return error
    router.replace("/sign-in?reset=1")
    return "redirecting"
  })
  return (
    <AuthForm form={form}>
      <NewPasswordField form={form} label="New password" />
      <Button type="submit" size="3" loading={form.busy}>
        Save password
      </Button>
    </AuthForm>
  )
}
