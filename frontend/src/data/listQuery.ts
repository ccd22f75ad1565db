import {
  infiniteQueryOptions,
  keepPreviousData,
  type InfiniteData,
  type QueryClient,
} from "@tanstack/react-query"
import type { Api } from "@/api/client"
import { isRetryable, retryDelay } from "@/api/retry"
import type { FetchedList } from "./optimistic"
import type { Filters, Task } from "./task"

/** Tasks per page. */
const PAGE_SIZE = 100
/** Characters of `q` that the API accepts. */
const MAX_SEARCH_LENGTH = 200
/** The API's parameter `status` for each filter. */
const STATUS_PARAMETER = { all: "all", open: "pending", done: "completed" } as const

/** Prefix of the query keys of all lists. */
export const LISTS_KEY = ["tasks"] as const

/** One page of a list. `next`: cursor of the next page. `asOf`: see `FetchedList`. */
type Page = { tasks: Task[]; next: string | undefined; asOf: number; filters: Filters }
type List = InfiniteData<Page, unknown>

type Services = {
  api: Api
  userId: string
  /** Returns the number of changes that the API has confirmed so far. */
  confirmationCount: () => number
  /** Called with the ETag of each response, which is the revision of all tasks of the user. */
  onEtag: (etag: string | null) => void
}

/**
 * Return the TanStack Query options of one list, read page by page. Lists are refetched only when `ChangePoller`
 * invalidates them, never by age or focus.
 */
export function listQueryOptions(
  { api, userId, confirmationCount, onEtag }: Services,
  { show, search, sort }: Filters,
) {
  const q = normalizeSearch(search)
  return infiniteQueryOptions({
    queryKey: [...LISTS_KEY, show, q, sort] as const,
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }): Promise<Page> => {
      const asOf = confirmationCount()
      const { data = [], response } = await api.GET("/api/{user_id}/tasks", {
        params: {
          path: { user_id: userId },
          query: {
            limit: PAGE_SIZE,
            sort,
            status: STATUS_PARAMETER[show],
            ...(q && { q }),
            ...(pageParam && { cursor: pageParam }),
          },
        },
        signal,
      })
      onEtag(response.headers.get("ETag"))
      return { tasks: data, next: nextCursor(response), asOf, filters: { show, search: q, sort } }
    },
    getNextPageParam: ({ next }) => next,
    retry: (_failures, error) => isRetryable(error),
    retryDelay: (failures, error) => retryDelay(failures + 1, error),
    placeholderData: keepPreviousData,
    networkMode: "always",
    staleTime: Infinity,
    refetchOnReconnect: false,
    refetchOnWindowFocus: false,
  })
}

/** Normalize a search for the API: no control or surrogate characters (the API rejects them), at most 200 characters. */
function normalizeSearch(search: string): string {
  return [...search.replace(/\p{Cc}|\p{Cs}/gu, " ").trim()].slice(0, MAX_SEARCH_LENGTH).join("")
}

/** Join the loaded pages of a list; the result is as old as the oldest page. */
export function mergePages({ pages }: List): FetchedList {
  const [first, last] = [pages[0], pages.at(-1)]
  const seen = new Set<number>()
  return {
    // A task that moved while the pages were read can be on two of them: keep the first.
    tasks: pages.flatMap(({ tasks }) => tasks).filter(({ id }) => !seen.has(id) && seen.add(id)),
    asOf: Math.min(...pages.map(({ asOf }) => asOf)),
    hasMore: last?.next !== undefined,
    filters: first?.filters ?? { show: "all", search: "", sort: "-created_at" },
  }
}

/** Return the smallest `asOf` of all cached lists, shown or not: changes up to it can be removed from the log. */
export function oldestAsOf(client: QueryClient): number {
  const lists = client
    .getQueriesData<List>({ queryKey: LISTS_KEY })
    .flatMap(([, list]) => (list ? [list] : []))
  return Math.min(...lists.map((list) => mergePages(list).asOf))
}

/** Return the cursor of the next page from the header `Link: <…?cursor=…>; rel="next"` (RFC 8288). */
function nextCursor({ headers }: Response): string | undefined {
  const url = /<([^>]*)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1]
  return url ? (new URL(url, "http://localhost").searchParams.get("cursor") ?? undefined) : undefined
}
