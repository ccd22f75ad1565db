import * as Callout from "@radix-ui/themes/components/callout"
import type { Metadata } from "next"
import { headers } from "next/headers"
import { redirect } from "next/navigation"
import styles from "@/account/account.module.css"
import { AuthCard } from "@/account/AuthCard"
import { SignInForm } from "@/account/SignInForm"
import { TextLink } from "@/account/TextLink"
import { getSession } from "@/server/auth"
import { isPasswordResetAvailable } from "@/server/mail"
import { settings } from "@/server/settings"

export const metadata: Metadata = { title: "Sign in" }

type PageProps = { searchParams: Promise<Record<string, string | string[] | undefined>> }

/** Sign-in page; redirects users who have a session to the task page. */
export default async function Page({ searchParams }: PageProps) {
  const { expired, reset } = await searchParams
  // Also after a redirect from the task page (`expired`), because the user may have signed in again in another tab. No
  // redirect loop: the task page redirects only users without a session, even if the API rejects their tokens.
  if (await getSession(await headers())) redirect("/")
  const notice = expired
    ? "Your session has ended. Sign in again."
    : reset
      ? "Your new password is saved. Sign in with it."
      : null
  const { signUpOpen } = settings()
  return (
    <AuthCard
      title="Sign in"
      footer={
        signUpOpen && (
          <>
            New here? <TextLink href="/sign-up">Sign up</TextLink>
          </>
        )
      }
    >
      {notice && (
        <Callout.Root size="1" className={styles.notice ?? ""}>
          <Callout.Text size="2">{notice}</Callout.Text>
        </Callout.Root>
      )}
      <SignInForm passwordResetEnabled={isPasswordResetAvailable(settings())} />
    </AuthCard>
  )
}
