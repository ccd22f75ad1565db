import type { QueryClient } from "@tanstack/react-query"
import type { Api } from "@/api/client"
import type { Connection } from "@/api/connection"
import { Changes } from "./changeQueue"
import { knownToAll, listOptions } from "./listQuery"
import { Pulse } from "./changePoller"
import type { Filters } from "./task"

/** Milliseconds for which a task that was just ticked stays in a list that it does not belong to any more. */
const LINGER = 700

export type TaskData = ReturnType<typeof createTaskData>

type Services = {
  client: QueryClient
  api: Api
  userId: string
  connection: Connection
  announce: () => void
}

/** A person's tasks on this page: what the service told, what was changed here, and how both stay in step. */
export function createTaskData({ client, api, userId, connection, announce }: Services) {
  let lingering: ReturnType<typeof setTimeout> | undefined

  const changes: Changes = new Changes({
    ...{ client, api, userId, connection },
    confirmed: announce,
    drained: (seen) => {
      clearTimeout(lingering)
      lingering = setTimeout(() => void pulse.renew(), seen ? LINGER : 0)
    },
  })

  const pulse = new Pulse({
    ...{ client, api, userId, connection },
    now: changes.now,
    unsaved: changes.unsaved,
    forget: () => changes.forget(Math.min(knownToAll(client), pulse.asOf())),
  })

  return {
    changes,
    pulse,
    list: (filters: Filters) => listOptions({ api, userId, now: changes.now, saw: pulse.saw }, filters),
  }
}
