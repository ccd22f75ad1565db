"use client"

import * as DropdownMenu from "@radix-ui/themes/components/dropdown-menu"
import { useRouter } from "next/navigation"
import { useState } from "react"
import { ErrorCallout } from "@/form/ErrorCallout"
import { OverlayTheme } from "@/ui/OverlayTheme"
import styles from "./account.module.css"
import { AccountMenuButton } from "./AccountMenuButton"
import { useSignOut } from "./useSignOut"

type AccountMenuItemsProps = {
  name: string
  email: string
  open: boolean
  onOpenChange(open: boolean): void
}

/** The account menu with its button: link to the account page, and sign-out. */
export function AccountMenuItems({ name, email, open, onOpenChange }: AccountMenuItemsProps) {
  const router = useRouter()
  const signOut = useSignOut()
  // Render the menu inside <main>: at the end of <body>, the default, it would be outside all ARIA landmarks.
  const [container, setContainer] = useState<HTMLDivElement | null>(null)
  const [error, setError] = useState<string>()

  /** Sign out; show the error if it fails. */
  async function handleSignOut() {
    setError(undefined)
    const signOutError = await signOut()
    setError(signOutError?.message)
  }

  return (
    <OverlayTheme>
      <div ref={setContainer}>
        <DropdownMenu.Root open={open} onOpenChange={onOpenChange} modal={false}>
          <DropdownMenu.Trigger>
            <AccountMenuButton />
          </DropdownMenu.Trigger>
          <DropdownMenu.Content
            container={container}
            align="end"
            size="2"
            variant="soft"
            className={styles.menu}
          >
            <DropdownMenu.Label className={styles.menuLabel}>
              <span className={styles.menuName}>{name}</span>
              <span className={styles.menuEmail}>{email}</span>
            </DropdownMenu.Label>
            <DropdownMenu.Item onSelect={() => router.push("/account")}>Account</DropdownMenu.Item>
            <DropdownMenu.Item onSelect={() => void handleSignOut()}>Sign out</DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Root>
        {error && (
          <div className={styles.menuError}>
            <ErrorCallout>{error}</ErrorCallout>
          </div>
        )}
      </div>
    </OverlayTheme>
  )
}
