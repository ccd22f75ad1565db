import {
  infiniteQueryOptions,
  keepPreviousData,
  type InfiniteData,
  type QueryClient,
} from "@tanstack/react-query"
import type { Api } from "@/api/client"
import { delayAfter, isTemporary } from "@/api/retry"
import type { Told } from "./optimistic"
import type { Filters, Task } from "./task"

const PAGE = 100
const LONGEST_SEARCH = 200
const STATUS = { all: "all", open: "pending", done: "completed" } as const

export const LISTS = ["tasks"] as const

type Page = { tasks: Task[]; next: string | undefined; asOf: number; filters: Filters }
type List = InfiniteData<Page, unknown>

type Services = {
  api: Api
  userId: string
  /** The count of confirmed changes. */
  now: () => number
  /** Told the version of all the person's data that an answer is of. */
  saw: (etag: string | null) => void
}

/** A list, page by page. It is stale when it is said to be, and never by itself. */
export function listOptions({ api, userId, now, saw }: Services, { show, search, sort }: Filters) {
  const q = sought(search)
  return infiniteQueryOptions({
    queryKey: [...LISTS, show, q, sort] as const,
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }): Promise<Page> => {
      const asOf = now()
      const { data = [], response } = await api.GET("/api/{user_id}/tasks", {
        params: {
          path: { user_id: userId },
          query: {
            limit: PAGE,
            sort,
            status: STATUS[show],
            ...(q && { q }),
            ...(pageParam && { cursor: pageParam }),
          },
        },
        signal,
      })
      saw(response.headers.get("ETag"))
      return { tasks: data, next: nextCursor(response), asOf, filters: { show, search: q, sort } }
    },
    getNextPageParam: ({ next }) => next,
    retry: (_failures, error) => isTemporary(error),
    retryDelay: (failures, error) => delayAfter(failures + 1, error),
    placeholderData: keepPreviousData,
    networkMode: "always",
    staleTime: Infinity,
    refetchOnReconnect: false,
    refetchOnWindowFocus: false,
  })
}

/** A search as the service takes it: not too long, and without what no title or description can hold. */
function sought(search: string): string {
  return [...search.replace(/\p{Cc}|\p{Cs}/gu, " ").trim()].slice(0, LONGEST_SEARCH).join("")
}

/** What a list tells: all its pages together, as old as the oldest of them. */
export function told({ pages }: List): Told {
  const [first, last] = [pages[0], pages.at(-1)]
  const seen = new Set<number>()
  return {
    // A task that moved while the pages were read may stand on two of them.
    tasks: pages.flatMap(({ tasks }) => tasks).filter(({ id }) => !seen.has(id) && seen.add(id)),
    asOf: Math.min(...pages.map(({ asOf }) => asOf)),
    hasMore: last?.next !== undefined,
    filters: first?.filters ?? { show: "all", search: "", sort: "-created_at" },
  }
}

/** The count of confirmations that all lists on the page, and those that may come back, know of. */
export function knownToAll(client: QueryClient): number {
  const lists = client.getQueriesData<List>({ queryKey: LISTS }).flatMap(([, list]) => (list ? [list] : []))
  return Math.min(...lists.map((list) => told(list).asOf))
}

/** `Link: <…?cursor=…>; rel="next"`: its cursor, which goes with the same filters. */
function nextCursor({ headers }: Response): string | undefined {
  const address = /<([^>]*)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1]
  return address ? (new URL(address, "http://localhost").searchParams.get("cursor") ?? undefined) : undefined
}
