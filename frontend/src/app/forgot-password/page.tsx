import type { Metadata } from "next"
import { notFound } from "next/navigation"
import { connection } from "next/server"
import { AuthCard } from "@/account/AuthCard"
import { ForgotPasswordForm } from "@/account/ForgotPasswordForm"
import { TextLink } from "@/account/TextLink"
import { isPasswordResetAvailable } from "@/server/mail"
import { settings } from "@/server/settings"

export const metadata: Metadata = { title: "Reset your password" }

/** Page to request a password reset link; 404 if no mail can be sent. */
export default async function Page() {
  await connection() // render at request time: the build has no settings
  if (!isPasswordResetAvailable(settings())) notFound()
  return (
    <AuthCard title="Reset your password" footer={<TextLink href="/sign-in">Back to sign in</TextLink>}>
      <ForgotPasswordForm />
    </AuthCard>
  )
}
