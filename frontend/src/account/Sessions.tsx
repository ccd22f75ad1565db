"use client"

import { Badge } from "@radix-ui/themes/components/badge"
import { Button } from "@radix-ui/themes/components/button"
import { Skeleton } from "@radix-ui/themes/components/skeleton"
import { Text } from "@radix-ui/themes/components/text"
import { useCallback, useEffect, useRef, useState } from "react"
import { Refused } from "@/form/ErrorCallout"
import { authClient } from "./authClient"
import styles from "./account.module.css"
import { deviceName } from "./deviceName"
import { ask } from "./callAuth"
import { Section } from "./Section"
import { useSignOut } from "./useSignOut"

type Session = { id: string; token: string; createdAt: Date; userAgent?: string | null | undefined }

const began = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" })

export function Sessions({ currentId }: { currentId: string }) {
  const [sessions, setSessions] = useState<Session[] | null>(null)
  const [refused, setRefused] = useState<string>()
  const [busy, setBusy] = useState<string>()
  const [said, setSaid] = useState("")
  const list = useRef<HTMLUListElement>(null)
  const signOut = useSignOut()

  const load = useCallback(async () => {
    const { data, refusal } = await ask(() => authClient.listSessions())
    if (data) setSessions(inOrder(data, currentId))
    else if (refusal !== "leaving") setRefused(refusal.message)
  }, [currentId])

  // The answer changes the state later, not during this effect.
  // eslint-disable-next-line react-hooks/set-state-in-effect
  useEffect(() => void load(), [load])

  async function change(
    what: string,
    done: string,
    call: () => ReturnType<typeof authClient.revokeSessions>,
  ) {
    setBusy(what)
    setRefused(undefined)
    const { refusal } = await ask(call)
    if (refusal === "leaving") return
    if (refusal) setRefused(refusal.message)
    else {
      setSaid(done)
      await load()
      list.current?.focus()
    }
    setBusy(undefined)
  }

  async function leave() {
    setBusy(currentId)
    setRefused((await signOut())?.message)
    setBusy(undefined)
  }

  return (
    <Section title="Sessions" about="Where you are signed in. Sign out what you do not know.">
      {refused && (
        <div className={styles.refused}>
          <Refused>{refused}</Refused>
          {!sessions && (
            <Button
              variant="soft"
              onClick={() => {
                setRefused(undefined)
                void load()
              }}
            >
              Try again
            </Button>
          )}
        </div>
      )}
      {!sessions && !refused && <Skeleton className={styles.sessionSkeleton} />}
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
                    Since {began.format(session.createdAt)}
                  </Text>
                </div>
                <Button
                  variant="soft"
                  color="gray"

                  aria-label={`Sign out ${device}`}
                  loading={busy === session.id}
                  onClick={() =>
                    current
                      ? void leave()
                      : void change(session.id, `${device} is signed out.`, () =>
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
          void change("others", "All other devices are signed out.", () => authClient.revokeOtherSessions())
        }
      >
        Sign out everywhere else
      </Button>
      <p aria-live="polite" className="visually-hidden">
        {said}
      </p>
    </Section>
  )
}

function inOrder(sessions: Session[], currentId: string): Session[] {
  const newest = [...sessions].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
  return newest.sort((a, b) => Number(b.id === currentId) - Number(a.id === currentId))
}
