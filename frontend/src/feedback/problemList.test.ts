import { describe, expect, it, vi } from "vitest"
import { ApiError } from "@/api/errors"
import { ProblemList } from "./problemList"

const refused = new ApiError({ status: 404, code: "not-found", detail: "" })

describe("the list of rejected changes", () => {
  it("keeps all problems, newest first, also with equal texts", () => {
    const list = new ProblemList()
    for (const title of ["1", "2", "3", "4", "4"]) list.report(`“${title}” was not added.`, refused, vi.fn())
    expect(list.all().map(({ text }) => text.slice(1, 2))).toEqual([..."44321"])
  })

  it("contains a change that is rejected twice only once", () => {
    const list = new ProblemList()
    const again = vi.fn(() => list.report("It was not added.", refused, again))
    list.report("It was not added.", refused, again)
    const [problem] = list.all()
    if (problem) list.retry(problem)
    expect(again).toHaveBeenCalledOnce()
    expect(list.all()).toHaveLength(1)
  })

  it("removes a dismissed problem and notifies the listeners", () => {
    const list = new ProblemList()
    const listener = vi.fn()
    list.report("One.", refused, vi.fn())
    list.subscribe(listener)
    const [problem] = list.all()
    if (problem) list.dismiss(problem.id)
    expect(list.all()).toEqual([])
    expect(listener).toHaveBeenCalledOnce()
  })
})
