import type { Filters } from "@/data/hooks"

const initial: Filters = { show: "all", search: "", sort: "-created_at" }

export const shows: { value: Filters["show"]; label: string }[] = [
  { value: "all", label: "All" },
  { value: "open", label: "Open" },
  { value: "done", label: "Done" },
]

export const sorts: { value: Filters["sort"]; label: string }[] = [
  { value: "-created_at", label: "Newest first" },
  { value: "created_at", label: "Oldest first" },
  { value: "due", label: "Due date" },
  { value: "-priority", label: "Priority" },
  { value: "title", label: "Title" },
]

/** The filters an address asks for; what it does not say, or says wrongly, is as at first. */
export function filtersFrom(get: (key: string) => string): Filters {
  return {
    show: shows.find(({ value }) => value === get("show"))?.value ?? initial.show,
    search: get("q"),
    sort: sorts.find(({ value }) => value === get("sort"))?.value ?? initial.sort,
  }
}

/** The address for these filters, without what is as at first anyway. */
export function addressOf(filters: Filters): string {
  const query = new URLSearchParams()
  if (filters.show !== initial.show) query.set("show", filters.show)
  if (filters.search.trim()) query.set("q", filters.search)
  if (filters.sort !== initial.sort) query.set("sort", filters.sort)
  return query.size > 0 ? `/?${query}` : "/"
}

export function narrows(filters: Filters): boolean {
  return filters.show !== "all" || filters.search.trim() !== ""
}
