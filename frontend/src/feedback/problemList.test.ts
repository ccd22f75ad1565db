import { describe, expect, it, vi } from "vitest"
import { ApiError } from "@/api/errors"
import { ProblemList } from "./problemList"

const refused = new ApiError({ status: 404, code: "not-found", detail: "" })

describe("the list of refused changes", () => {
  it("keeps all, the newest first, and those with the same words as well", () => {
    const list = new ProblemList()
    for (const title of ["1", "2", "3", "4", "4"]) list.report(`“${title}” was not added.`, refused, vi.fn())
    expect(list.all().map(({ text }) => text.slice(1, 2))).toEqual([..."44321"])
  })

  it("has a change that is refused again only once", () => {
    const list = new ProblemList()
    const again = vi.fn(() => list.report("It was not added.", refused, again))
    list.report("It was not added.", refused, again)
    const [problem] = list.all()
    if (problem) list.retry(problem)
    expect(again).toHaveBeenCalledOnce()
    expect(list.all()).toHaveLength(1)
  })

  it("forgets what the person dismisses, and tells so", () => {
    const list = new ProblemList()
    const heard = vi.fn()
    list.report("One.", refused, vi.fn())
    list.subscribe(heard)
    const [problem] = list.all()
    if (problem) list.dismiss(problem.id)
    expect(list.all()).toEqual([])
    expect(heard).toHaveBeenCalledOnce()
  })
})
