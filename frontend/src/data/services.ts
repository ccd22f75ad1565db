import { QueryClient } from "@tanstack/react-query"
import { createApi } from "@/api/client"
import { Connection } from "@/api/connection"
import { SessionEnded } from "@/api/errors"
import { TabChannel } from "@/api/tabChannel"
import { TokenProvider } from "@/api/tokenProvider"
import { createTaskData, type TaskData } from "./taskData"
import { UnsavedWork } from "./unsavedWork"

/** The objects that the browser keeps for one user: access token, query cache, change queue and their observers. */
export type Services = {
  client: QueryClient
  token: TokenProvider
  connection: Connection
  tabs: TabChannel
  tasks: TaskData
  unsaved: UnsavedWork
}

let current: { key: string; services: Services } | undefined

/**
 * Return the services of a user. They stay the same during client-side navigation, so that unsent changes are visible on
 * every page. For another user or API, new services are created and the previous ones are discarded.
 */
export function getServices(apiUrl: string, userId: string): Services {
  // During server-side rendering: one process renders pages of many users, so services must not be shared.
  if (typeof window === "undefined") return createServices(apiUrl, userId)
  const key = JSON.stringify([apiUrl, userId])
  if (current?.key !== key) {
    if (current) discard(current.services)
    current = { key, services: createServices(apiUrl, userId) }
  }
  return current.services
}

/** Discard all data after a sign-out on this page, and tell the other tabs, which check it with the auth server. */
export function endSession(services: Services): void {
  if (current?.services === services) current = undefined
  discard(services)
  services.tabs.publish("signed-out")
}

/** Clear the query cache and end the token provider, which makes unsent changes fail. */
function discard({ token, client }: Services): void {
  token.end(new SessionEnded("signed-out"))
  client.clear()
}

/** Create and connect the services of one user; sends no request yet. */
function createServices(apiUrl: string, userId: string): Services {
  const client = new QueryClient()
  const connection = new Connection()
  const token = new TokenProvider(userId, connection, {
    hasUnsavedWork: () => unsaved.count() > 0,
    onEnded: (error) => {
      unsaved.discard()
      redirectAfterSessionEnd(error)
    },
  })
  const api = createApi({ url: apiUrl, token, connection })
  const tabs = new TabChannel(userId)
  const tasks = createTaskData({
    client,
    api,
    userId,
    connection,
    onConfirmed: () => tabs.publish("changed"),
  })
  const unsaved = new UnsavedWork(tasks.changes)
  return { client, token, connection, tabs, tasks, unsaved }
}

/** Milliseconds in which React removes the `beforeunload` prompt after `unsaved.discard()`. */
const REDIRECT_DELAY = 100

const REDIRECT_URLS = {
  expired: "/sign-in?expired=1",
  "other-user": "/",
  "signed-out": null,
  "token-rejected": null,
} as const

/** Load the page for the reason why the session has ended. A full page load, so that no user data stays in memory. */
function redirectAfterSessionEnd({ reason }: SessionEnded): void {
  const url = REDIRECT_URLS[reason]
  if (url) setTimeout(() => window.location.replace(url), REDIRECT_DELAY)
}
