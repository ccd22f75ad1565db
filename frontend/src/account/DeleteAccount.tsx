"use client"

import * as AlertDialog from "@radix-ui/themes/components/alert-dialog"
import { Button } from "@radix-ui/themes/components/button"
import { useState } from "react"
import { useEndSession } from "@/data/hooks"
import { disableUnloadPrompt } from "@/feedback/UnsavedChangesPrompt"
import { useSubmission } from "@/form/useSubmission"
import { OverlayTheme } from "@/ui/OverlayTheme"
import styles from "./account.module.css"
import { authClient } from "./authClient"
import { AuthForm } from "./AuthForm"
import { callAuth } from "./callAuth"
import { PasswordField } from "./CredentialFields"
import { loadPage } from "./loadPage"
import { Section } from "./Section"

/** Section with a dialog that deletes the account after the user has entered the password. */
export function DeleteAccount() {
  const [open, setOpen] = useState(false)
  const endSession = useEndSession()

  const form = useSubmission(async (value) => {
    const password = value("current")
    if (!password) return { field: "current", message: "Enter your password." }
    // The server ends all sessions and erases the tasks first; if the API fails, it keeps the account.
    const { error } = await callAuth(() => authClient.deleteUser({ password }))
    if (error) return error
    endSession()
    disableUnloadPrompt()
    loadPage("/sign-up")
    return "redirecting"
  })

  return (
    <Section title="Delete account" description="Your account and all your tasks are deleted for good.">
      <div className={styles.delete}>
        <OverlayTheme>
          <AlertDialog.Root open={open} onOpenChange={(next) => !form.busy && setOpen(next)}>
            <AlertDialog.Trigger>
              <Button variant="soft" color="red">
                Delete account
              </Button>
            </AlertDialog.Trigger>
            <AlertDialog.Content className={styles.dialog ?? ""}>
              <AlertDialog.Title>Delete your account?</AlertDialog.Title>
              <AlertDialog.Description size="2">
                Every task you have will be erased. Nobody can bring it back.
              </AlertDialog.Description>
              <AuthForm form={form}>
                <PasswordField form={form} name="current" />
                <div className={styles.dialogActions}>
                  <AlertDialog.Cancel>
                    <Button type="button" variant="soft" color="gray" disabled={form.busy}>
                      Cancel
                    </Button>
                  </AlertDialog.Cancel>
                  <Button type="submit" color="red" loading={form.busy}>
                    Delete everything
                  </Button>
                </div>
              </AuthForm>
            </AlertDialog.Content>
          </AlertDialog.Root>
        </OverlayTheme>
      </div>
    </Section>
  )
}
