"use client"

import { Badge } from "@radix-ui/themes/components/badge"
import { Button } from "@radix-ui/themes/components/button"
import { Skeleton } from "@radix-ui/themes/components/skeleton"
import { Text } from "@radix-ui/themes/components/text"
import { useCallback, useEffect, useRef, useState } from "react"
import { ErrorCallout } from "@/form/ErrorCallout"
import styles from "./account.module.css"
import { authClient } from "./authClient"
import { callAuth } from "./callAuth"
import { deviceName } from "./deviceName"
import { Section } from "./Section"
import { useSignOut } from "./useSignOut"

type Session = { id: string; token: string; createdAt: Date; userAgent?: string | null | undefined }

const dateFormat = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" })

/** The user's sessions, the current one first, each with a button that ends it. */
export function Sessions({ currentId }: { currentId: string }) {
  const [sessions, setSessions] = useState<Session[] | null>(null)
  const [error, setError] = useState<string>()
  const [busy, setBusy] = useState<string>()
  const [announcement, setAnnouncement] = useState("")
  const list = useRef<HTMLUListElement>(null)
  const signOut = useSignOut()

  const load = useCallback(async () => {
    const { data, error } = await callAuth(() => authClient.listSessions())
    if (data) setSessions(currentFirst(data, currentId))
    else if (error !== "redirecting") setError(error.message)
  }, [currentId])

  // False positive of the rule: `load` sets state after the response, not during this effect.
  // eslint-disable-next-line react-hooks/set-state-in-effect
  useEffect(() => void load(), [load])

  /** Run a request that ends sessions, then announce it and reload the list. `target`: the session id, or "others". */
  async function revoke(
    target: string,
    successMessage: string,
    request: () => ReturnType<typeof authClient.revokeSessions>,
  ) {
    setBusy(target)
    setError(undefined)
    const { error } = await callAuth(request)
    if (error === "redirecting") return
    if (error) setError(error.message)
    else {
      setAnnouncement(successMessage)
      await load()
      list.current?.focus()
    }
    setBusy(undefined)
  }

  /** Sign out of this browser, which leaves the page; show the error if it fails. */
  async function endCurrentSession() {
    setBusy(currentId)
    setError((await signOut())?.message)
    setBusy(undefined)
  }

  return (
    <Section title="Sessions" description="Where you are signed in. Sign out what you do not know.">
      {error && (
        <div className={styles.error}>
          <ErrorCallout>{error}</ErrorCallout>
          {!sessions && (
            <Button
              variant="soft"
              onClick={() => {
                setError(undefined)
                void load()
              }}
            >
              Try again
            </Button>
          )}
        </div>
      )}
      {!sessions && !error && <Skeleton className={styles.sessionSkeleton} />}
      {sessions && (
        <ul ref={list} tabIndex={-1} aria-label="Sessions" className={styles.sessions}>
          {sessions.map((session) => {
            const device = deviceName(session.userAgent)
            const current = session.id === currentId
            return (
              <li key={session.id} className={styles.session}>
                <div>
                  <Text as="p" size="3" weight="medium">
                    {device} {current && <Badge color="iris">This device</Badge>}
                  </Text>
                  <Text as="p" size="2" color="gray">
                    Since {dateFormat.format(session.createdAt)}
                  </Text>
                </div>
                <Button
                  variant="soft"
                  color="gray"
                  aria-label={`Sign out ${device}`}
                  loading={busy === session.id}
                  onClick={() =>
                    current
                      ? void endCurrentSession()
                      : void revoke(session.id, `${device} is signed out.`, () =>
                          authClient.revokeSession({ token: session.token }),
                        )
                  }
                >
                  Sign out
                </Button>
              </li>
            )
          })}
        </ul>
      )}
      <Button
        variant="soft"
        disabled={!sessions || sessions.length < 2}
        loading={busy === "others"}
        onClick={() =>
          void revoke("others", "All other devices are signed out.", () => authClient.revokeOtherSessions())
        }
      >
        Sign out everywhere else
      </Button>
      <p aria-live="polite" className="visually-hidden">
        {announcement}
      </p>
    </Section>
  )
}

/** Sort sessions: the current one first, then newest first. */
function currentFirst(sessions: Session[], currentId: string): Session[] {
  const newest = [...sessions].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
  return newest.sort((a, b) => Number(b.id === currentId) - Number(a.id === currentId))
}
