import { describe, expect, it } from "vitest"
import { createDraft, type TaskView } from "@/data/task"
import { keepEditedRows } from "./editedRows"

const view = (key: string): TaskView => ({
  ...createDraft({ title: key }, Number(key), "alice"),
  pending: false,
  key,
})
const views = (...keys: string[]) => keys.map(view)
const openEdits = (...keys: string[]) => new Map(keys.map((key) => [key, 1]))
const keysOf = (tasks: TaskView[]) => tasks.map(({ key }) => key)

describe("rows with an open edit", () => {
  it("are rendered once while the list contains them", () => {
    const tasks = views("1", "2", "3")
    expect(keepEditedRows(tasks, views("1", "2", "3"), openEdits("2"))).toBe(tasks)
  })

  it("keep their position when the list no longer contains them; other rows are removed", () => {
    expect(keysOf(keepEditedRows(views("1", "4"), views("1", "2", "3", "4"), openEdits("2")))).toEqual([
      "1",
      "2",
      "4",
    ])
  })

  it("follow their nearest remaining predecessor", () => {
    expect(keysOf(keepEditedRows(views("4", "1"), views("1", "2", "3", "4"), openEdits("3")))).toEqual([
      "4",
      "1",
      "3",
    ])
  })

  it("are first without a remaining predecessor", () => {
    expect(keysOf(keepEditedRows(views("9"), views("1", "2"), openEdits("2")))).toEqual(["2", "9"])
    expect(keysOf(keepEditedRows([], views("1", "2"), openEdits("2")))).toEqual(["2"])
  })

  it("keep their order", () => {
    expect(keysOf(keepEditedRows(views("4"), views("1", "2", "3", "4"), openEdits("1", "2", "3")))).toEqual([
      ..."1234",
    ])
  })

  it("are not pending once they have left the list", () => {
    const [row] = keepEditedRows([], [{ ...view("1"), pending: true }], openEdits("1"))
    expect(row?.pending).toBe(false)
  })
})
