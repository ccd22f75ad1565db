import type { ApiContext } from "./apiContext"
import { ChangePoller } from "./changePoller"
import { ChangeQueue } from "./changeQueue"
import { listQueryOptions, oldestAsOf } from "./listQuery"
import type { Filters } from "./task"

/** Milliseconds for which a task that was just completed stays in a list whose filters exclude it. */
const COMPLETED_DISPLAY_TIME = 700

export type TaskData = ReturnType<typeof createTaskData>

type Services = ApiContext & {
  onConfirmed: () => void
}

/**
 * Create the query options, the change queue and the poller for one user's tasks, and connect them: after the last change
 * of the queue the lists are fetched again, and after that the changes that all lists include are removed from the log.
 */
export function createTaskData({ client, api, userId, connection, onConfirmed }: Services) {
  let refreshTimer: ReturnType<typeof setTimeout> | undefined

  const changes: ChangeQueue = new ChangeQueue({
    ...{ client, api, userId, connection },
    onConfirmed,
    onDrained: (lastConfirmed) => {
      clearTimeout(refreshTimer)
      const delay = lastConfirmed ? COMPLETED_DISPLAY_TIME : 0
      refreshTimer = setTimeout(() => void poller.pollAndRefreshLists(), delay)
    },
  })

  const poller = new ChangePoller({
    ...{ client, api, userId, connection },
    confirmationCount: changes.confirmationCount,
    unconfirmedCount: changes.unconfirmedCount,
    onListsRefreshed: () => changes.prune(Math.min(oldestAsOf(client), poller.asOf())),
  })

  return {
    changes,
    poller,
    list: (filters: Filters) => {
      const { confirmationCount } = changes
      return listQueryOptions({ api, userId, confirmationCount, onEtag: poller.noteEtag }, filters)
    },
  }
}
