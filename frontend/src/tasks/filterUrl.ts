import type { Filters } from "@/data/hooks"

const DEFAULT_FILTERS: Filters = { show: "all", search: "", sort: "-created_at" }

export const showOptions: { value: Filters["show"]; label: string }[] = [
  { value: "all", label: "All" },
  { value: "open", label: "Open" },
  { value: "done", label: "Done" },
]

export const sortOptions: { value: Filters["sort"]; label: string }[] = [
  { value: "-created_at", label: "Newest first" },
  { value: "created_at", label: "Oldest first" },
  { value: "due", label: "Due date" },
  { value: "-priority", label: "Priority" },
  { value: "title", label: "Title" },
]

/** Read the filters from query parameters; a missing or invalid parameter gets its default. */
export function parseFilters(get: (key: string) => string): Filters {
  return {
    show: showOptions.find(({ value }) => value === get("show"))?.value ?? DEFAULT_FILTERS.show,
    search: get("q"),
    sort: sortOptions.find(({ value }) => value === get("sort"))?.value ?? DEFAULT_FILTERS.sort,
  }
}

/** Return the URL of the task page with these filters; defaults are left out. */
export function filtersUrl(filters: Filters): string {
  const query = new URLSearchParams()
  if (filters.show !== DEFAULT_FILTERS.show) query.set("show", filters.show)
  if (filters.search.trim()) query.set("q", filters.search)
  if (filters.sort !== DEFAULT_FILTERS.sort) query.set("sort", filters.sort)
  return query.size > 0 ? `/?${query}` : "/"
}

/** Return whether the filters can exclude tasks, unlike the sort. */
export function hasActiveFilter(filters: Filters): boolean {
  return filters.show !== "all" || filters.search.trim() !== ""
}
