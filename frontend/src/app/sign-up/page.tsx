import { Text } from "@radix-ui/themes/components/text"
import type { Metadata } from "next"
import { headers } from "next/headers"
import { redirect } from "next/navigation"
import { AuthCard } from "@/account/AuthCard"
import { SignUpForm } from "@/account/SignUpForm"
import { TextLink } from "@/account/TextLink"
import { getSession } from "@/server/auth"
import { settings } from "@/server/settings"

export const metadata: Metadata = { title: "Create your account" }

/** Sign-up page; redirects users who have a session to the task page. */
export default async function Page() {
  if (await getSession(await headers())) redirect("/")
  return (
    <AuthCard
      title="Create your account"
      footer={
        <>
          Have an account? <TextLink href="/sign-in">Sign in</TextLink>
        </>
      }
    >
      {settings().signUpOpen ? (
        <SignUpForm />
      ) : (
        <Text as="p">New accounts cannot be made here at the moment.</Text>
      )}
    </AuthCard>
  )
}
