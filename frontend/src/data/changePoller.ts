import { queryOptions } from "@tanstack/react-query"
import type { ApiContext } from "./apiContext"
import { LISTS_KEY } from "./listQuery"

/** Milliseconds between two polls. */
const INTERVAL = 3_000
/** The same while the API is unavailable. */
const INTERVAL_UNAVAILABLE = 1_500
/** Milliseconds that a poll may take while the API is unavailable: a hanging request would hide that it is back. */
const TIMEOUT_UNAVAILABLE = 5_000

/** Result of a poll. `asOf`: the number of confirmed changes when the request was sent. */
type PollResult = { etag: string | null; openCount: number; asOf: number }

type Services = ApiContext & {
  confirmationCount: () => number
  unconfirmedCount: () => number
  onListsRefreshed: () => void
}

/**
 * Polls the API for changes of other clients and for the number of open tasks, and invalidates the lists on a change.
 *
 * All lists of a user have the same ETag, which every change alters, so one conditional request for the shortest list
 * detects changes. Its 304 costs the API one read by primary key; the delta feed would return tasks that are not needed.
 */
export class ChangePoller {
  #etag: string | null = null
  #last: PollResult | undefined
  #stale = false
  readonly #services: Services

  constructor(services: Services) {
    this.#services = services
  }

  readonly options = queryOptions({
    queryKey: ["poll"] as const,
    queryFn: ({ signal }) => this.#fetch(signal),
    // The next poll is the retry.
    retry: false,
    networkMode: "always",
    staleTime: 0,
    refetchOnWindowFocus: "always",
    refetchOnReconnect: "always",
  })

  /** Return the milliseconds until the next poll. */
  readonly interval = (): number =>
    this.#services.connection.state() === "unavailable" ? INTERVAL_UNAVAILABLE : INTERVAL

  /** Return the number of confirmed changes that the last poll includes. */
  readonly asOf = (): number => this.#last?.asOf ?? 0

  /** Poll now. Never rejects: `Connection` records a failure, and the next poll follows after the interval. */
  readonly poll = (): Promise<void> =>
    this.#services.client.refetchQueries({ queryKey: this.options.queryKey })

  /** Poll now, and refetch the lists even if the ETag is unchanged. */
  readonly pollAndRefreshLists = (): Promise<void> => {
    this.#stale = true
    return this.poll()
  }

  /** Record the ETag of a response. If it differs from the last one, the cached lists are stale. */
  readonly noteEtag = (etag: string | null): void => {
    if (etag === this.#etag) return
    if (this.#etag !== null) this.#stale = true
    this.#etag = etag
  }

  /** Send the conditional request; a 304 returns the last result with a newer `asOf`. */
  async #fetch(signal: AbortSignal): Promise<PollResult> {
    const { api, userId, connection, confirmationCount } = this.#services
    const [asOf, last] = [confirmationCount(), this.#last]
    const { response } = await api.GET("/api/{user_id}/tasks", {
      params: {
        path: { user_id: userId },
        query: { status: "pending", limit: 1, include: "total" },
        ...(last?.etag && { header: { "If-None-Match": last.etag } }),
      },
      signal:
        connection.state() === "unavailable"
          ? AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_UNAVAILABLE)])
          : signal,
    })
    const result =
      response.status === 304 && last
        ? { ...last, asOf }
        : {
            etag: response.headers.get("ETag"),
            openCount: Number(response.headers.get("X-Total-Count")),
            asOf,
          }
    this.#last = result
    this.noteEtag(result.etag)
    this.#refreshStaleLists()
    return result
  }

  /** Refetch stale lists, but not while a change is unconfirmed: the response could be older than the change. */
  #refreshStaleLists(): void {
    const { client, unconfirmedCount, onListsRefreshed } = this.#services
    if (!this.#stale || unconfirmedCount() > 0) return
    this.#stale = false
    void client.invalidateQueries({ queryKey: LISTS_KEY }).then(onListsRefreshed)
  }
}
