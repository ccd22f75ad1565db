import { QueryClient } from "@tanstack/react-query"
import { createTaskData, type TaskData } from "./taskData"
import { Unsaved } from "./unsavedWork"
import { createApi } from "@/api/client"
import { Connection } from "@/api/connection"
import { SessionOver } from "@/api/errors"
import { Tabs } from "@/api/tabChannel"
import { AccessToken } from "@/api/tokenProvider"

/** All that the browser has of one person: the token, what was read and what was changed. */
export type Services = {
  client: QueryClient
  token: AccessToken
  connection: Connection
  tabs: Tabs
  tasks: TaskData
  unsaved: Unsaved
}

let held: { whose: string; services: Services } | undefined

/**
 * The services of a person. They stay the same from page to page, so that a change which is still to be sent is seen
 * wherever the person goes in the meantime. With another person nothing is left of the one before.
 */
export function servicesOf(apiUrl: string, userId: string): Services {
  // A server draws pages for many people.
  if (typeof window === "undefined") return createServices(apiUrl, userId)
  const whose = JSON.stringify([apiUrl, userId])
  if (held?.whose !== whose) {
    if (held) forget(held.services)
    held = { whose, services: createServices(apiUrl, userId) }
  }
  return held.services
}

/** The person has signed out here; the other tabs look whether it is so. */
export function endSession(services: Services): void {
  if (held?.services === services) held = undefined
  forget(services)
  services.tabs.tell("signed-out")
}

/** Nothing is kept, and what is still to be sent will never be. */
function forget({ token, client }: Services): void {
  token.end(new SessionOver("signed-out"))
  client.clear()
}

function createServices(apiUrl: string, userId: string): Services {
  const client = new QueryClient()
  const connection = new Connection()
  const token = new AccessToken(userId, connection, {
    holds: () => unsaved.count() > 0,
    over: (over) => {
      unsaved.abandon()
      leave(over)
    },
  })
  const api = createApi({ url: apiUrl, token, connection })
  const tabs = new Tabs(userId)
  const tasks = createTaskData({ client, api, userId, connection, announce: () => tabs.tell("changed") })
  const unsaved = new Unsaved(tasks.changes)
  return { client, token, connection, tabs, tasks, unsaved }
}

/** Milliseconds in which the page learns that nothing is kept, so that the browser has no reason to ask about it. */
const GOODBYE = 100

/** Go where the person can do something about it. A whole new page: of this one nothing shall stay. */
function leave({ reason }: SessionOver): void {
  const address = { expired: "/sign-in?expired=1", "other-user": "/", "signed-out": null, refused: null }[
    reason
  ]
  if (address) setTimeout(() => window.location.replace(address), GOODBYE)
}
