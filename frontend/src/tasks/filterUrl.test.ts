import { describe, expect, it } from "vitest"
import type { Filters } from "@/data/hooks"
import { filtersUrl, parseFilters } from "./filterUrl"

function read(address: string): Filters {
  const { searchParams } = new URL(address, "http://localhost")
  return parseFilters((key) => searchParams.get(key) ?? "")
}

describe("the URL of filters", () => {
  it.each<Filters>([
    { show: "all", search: "", sort: "-created_at" },
    { show: "open", search: "C++ & “ümlaut” 100 %", sort: "title" },
    { show: "done", search: "#?=", sort: "-priority" },
  ])("round-trips %o", (filters) => {
    expect(read(filtersUrl(filters))).toEqual(filters)
  })

  it("leaves out defaults", () => {
    expect(filtersUrl({ show: "all", search: "  ", sort: "-created_at" })).toBe("/")
  })

  it("ignores invalid parameters", () => {
    expect(read("/?show=some&sort=random")).toEqual(read("/"))
  })
})
