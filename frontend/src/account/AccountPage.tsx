"use client"

import { Heading } from "@radix-ui/themes/components/heading"
import { Text } from "@radix-ui/themes/components/text"
import Link from "next/link"
import { ServicesProvider } from "@/data/ServicesProvider"
import { ConnectionBanner } from "@/feedback/ConnectionBanner"
import { Problems } from "@/feedback/Problems"
import { UnsavedChangesPrompt } from "@/feedback/UnsavedChangesPrompt"
import { BackIcon } from "@/ui/icons"
import styles from "./account.module.css"
import { DeleteAccount } from "./DeleteAccount"
import { PasswordForm } from "./PasswordForm"
import { Sessions } from "./Sessions"

type AccountPageProps = {
  apiUrl: string
  user: { id: string; name: string; email: string }
  sessionId: string
}

/** The account page: sessions, password and account deletion. */
export function AccountPage({ apiUrl, user, sessionId }: AccountPageProps) {
  return (
    <ServicesProvider apiUrl={apiUrl} userId={user.id}>
      <UnsavedChangesPrompt />
      <ConnectionBanner />
      <Problems>
        <main className={styles.account}>
          <nav>
            <Link href="/" className={styles.back}>
              <BackIcon />
              Tasks
            </Link>
          </nav>
          <header>
            <Heading as="h1" size="8">
              Account
            </Heading>
            <Text as="p" color="gray" className={styles.user}>
              {user.name} · {user.email}
            </Text>
          </header>
          <Sessions currentId={sessionId} />
          <PasswordForm email={user.email} />
          <DeleteAccount />
        </main>
      </Problems>
    </ServicesProvider>
  )
}
