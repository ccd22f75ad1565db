"use client"

import { Button } from "@radix-ui/themes/components/button"
import { Text } from "@radix-ui/themes/components/text"
import styles from "@/account/account.module.css"
import { AuthCard } from "@/account/AuthCard"

/** Error boundary of the pages. */
export default function ErrorPage({ retry }: { error: Error; retry: () => void }) {
  return (
    <AuthCard title="Something went wrong">
      <div role="alert" className={styles.form}>
        <Text as="p" className={styles.footer}>
          This page could not be shown. Nothing you saved is lost.
        </Text>
        <Button size="3" onClick={retry}>
          Try again
        </Button>
      </div>
    </AuthCard>
  )
}
