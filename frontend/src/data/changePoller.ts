import { queryOptions, type QueryClient } from "@tanstack/react-query"
import type { Api } from "@/api/client"
import type { Connection } from "@/api/connection"
import { LISTS } from "./listQuery"

/** Milliseconds between two looks. */
const INTERVAL = 3_000
const INTERVAL_AWAY = 1_500
/** Milliseconds that a look may take while the service is away: one that hangs must not hide that it is back. */
const PATIENCE_AWAY = 5_000

type Beat = { etag: string | null; open: number; asOf: number }

type Services = {
  client: QueryClient
  api: Api
  userId: string
  connection: Connection
  now: () => number
  unsaved: () => number
  forget: () => void
}

/**
 * Whether anything has changed, wherever, and how many tasks are open.
 *
 * Every list of a person has the same ETag, which any change alters, so one look at the shortest of them tells: 304
 * costs next to nothing and needs no walk through the feed, whose content is not wanted here.
 */
export class Pulse {
  #etag: string | null = null
  #beat: Beat | undefined
  #stale = false
  readonly #services: Services

  constructor(services: Services) {
    this.#services = services
  }

  readonly options = queryOptions({
    queryKey: ["pulse"] as const,
    queryFn: ({ signal }) => this.#look(signal),
    // The next look is the next attempt.
    retry: false,
    networkMode: "always",
    staleTime: 0,
    refetchOnWindowFocus: "always",
    refetchOnReconnect: "always",
  })

  readonly interval = (): number => (this.#services.connection.reach() === "away" ? INTERVAL_AWAY : INTERVAL)

  /** The count of confirmed changes that the number of open tasks knows of. */
  readonly asOf = (): number => this.#beat?.asOf ?? 0

  /** Look now. Failures show in the connection, and the next look comes by itself. */
  readonly look = (): Promise<void> =>
    this.#services.client.refetchQueries({ queryKey: this.options.queryKey })

  /** Look now, and have the lists told anew whatever is found. */
  readonly renew = (): Promise<void> => {
    this.#stale = true
    return this.look()
  }

  /** The version of all the person's data that an answer is of; lists of another one may be older or newer. */
  readonly saw = (etag: string | null): void => {
    if (etag === this.#etag) return
    if (this.#etag !== null) this.#stale = true
    this.#etag = etag
  }

  async #look(signal: AbortSignal): Promise<Beat> {
    const { api, userId, connection, now } = this.#services
    const [asOf, last] = [now(), this.#beat]
    const { response } = await api.GET("/api/{user_id}/tasks", {
      params: {
        path: { user_id: userId },
        query: { status: "pending", limit: 1, include: "total" },
        ...(last?.etag && { header: { "If-None-Match": last.etag } }),
      },
      signal:
        connection.reach() === "away"
          ? AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_AWAY)])
          : signal,
    })
    const beat =
      response.status === 304 && last
        ? { ...last, asOf }
        : { etag: response.headers.get("ETag"), open: Number(response.headers.get("X-Total-Count")), asOf }
    this.#beat = beat
    this.saw(beat.etag)
    this.#refresh()
    return beat
  }

  /** While a change is under way lists are left alone: an answer made before it would be out of date on arrival. */
  #refresh(): void {
    const { client, unsaved, forget } = this.#services
    if (!this.#stale || unsaved() > 0) return
    this.#stale = false
    void client.invalidateQueries({ queryKey: LISTS }).then(forget)
  }
}
