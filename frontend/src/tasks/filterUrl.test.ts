import { describe, expect, it } from "vitest"
import { filtersUrl, parseFilters } from "./filterUrl"
import type { Filters } from "@/data/hooks"

function read(address: string): Filters {
  const { searchParams } = new URL(address, "http://localhost")
  return parseFilters((key) => searchParams.get(key) ?? "")
}

describe("the address of filters", () => {
  it.each<Filters>([
    { show: "all", search: "", sort: "-created_at" },
    { show: "open", search: "C++ & “ümlaut” 100 %", sort: "title" },
    { show: "done", search: "#?=", sort: "-priority" },
  ])("keeps %o", (filters) => {
    expect(read(filtersUrl(filters))).toEqual(filters)
  })

  it("is short when nothing is chosen", () => {
    expect(filtersUrl({ show: "all", search: "  ", sort: "-created_at" })).toBe("/")
  })

  it("passes over what it does not know", () => {
    expect(read("/?show=some&sort=random")).toEqual(read("/"))
  })
})
