"use client"

import * as DropdownMenu from "@radix-ui/themes/components/dropdown-menu"
import { useRouter } from "next/navigation"
import { useState } from "react"
import { OverlayTheme } from "@/ui/OverlayTheme"
import { Refused } from "@/form/ErrorCallout"
import styles from "./account.module.css"
import { AccountMenuButton } from "./AccountMenuButton"
import { useSignOut } from "./useSignOut"

type AccountMenuItemsProps = {
  name: string
  email: string
  open: boolean
  onOpenChange(open: boolean): void
}

export function AccountMenuItems({ name, email, open, onOpenChange }: AccountMenuItemsProps) {
  const router = useRouter()
  const signOut = useSignOut()
  // The menu opens within the main part of the page and not at the end of the document, outside all landmarks.
  const [frame, setFrame] = useState<HTMLDivElement | null>(null)
  const [refused, setRefused] = useState<string>()

  async function leave() {
    setRefused(undefined)
    const refusal = await signOut()
    setRefused(refusal?.message)
  }

  return (
    <OverlayTheme>
      <div ref={setFrame}>
        <DropdownMenu.Root open={open} onOpenChange={onOpenChange} modal={false}>
          <DropdownMenu.Trigger>
            <AccountMenuButton />
          </DropdownMenu.Trigger>
          <DropdownMenu.Content container={frame} align="end" size="2" variant="soft" className={styles.menu}>
            <DropdownMenu.Label className={styles.menuLabel}>
              <span className={styles.menuName}>{name}</span>
              <span className={styles.menuEmail}>{email}</span>
            </DropdownMenu.Label>
            <DropdownMenu.Item onSelect={() => router.push("/account")}>Account</DropdownMenu.Item>
            <DropdownMenu.Item onSelect={() => void leave()}>Sign out</DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Root>
        {refused && (
          <div className={styles.menuRefused}>
            <Refused>{refused}</Refused>
          </div>
        )}
      </div>
    </OverlayTheme>
  )
}
