import { describe, expect, it } from "vitest"
import { keepEditedRows } from "./editedRows"
import { createDraft, type TaskView } from "@/data/task"

const view = (key: string): TaskView => ({
  ...createDraft({ title: key }, Number(key), "alice"),
  pending: false,
  key,
})
const views = (...keys: string[]) => keys.map(view)
const held = (...keys: string[]) => new Map(keys.map((key) => [key, 1]))
const keysOf = (tasks: TaskView[]) => tasks.map(({ key }) => key)

describe("the rows of tasks that are being edited", () => {
  it("are drawn once while the list has them", () => {
    const tasks = views("1", "2", "3")
    expect(keepEditedRows(tasks, views("1", "2", "3"), held("2"))).toBe(tasks)
  })

  it("stay where they were when the list has them no more, and the others go", () => {
    expect(keysOf(keepEditedRows(views("1", "4"), views("1", "2", "3", "4"), held("2")))).toEqual([
      "1",
      "2",
      "4",
    ])
  })

  it("come behind the nearest of the earlier rows that is still there", () => {
    expect(keysOf(keepEditedRows(views("4", "1"), views("1", "2", "3", "4"), held("3")))).toEqual([
      "4",
      "1",
      "3",
    ])
  })

  it("come first when nothing is left before them", () => {
    expect(keysOf(keepEditedRows(views("9"), views("1", "2"), held("2")))).toEqual(["2", "9"])
    expect(keysOf(keepEditedRows([], views("1", "2"), held("2")))).toEqual(["2"])
  })

  it("keep their order", () => {
    expect(keysOf(keepEditedRows(views("4"), views("1", "2", "3", "4"), held("1", "2", "3")))).toEqual([
      ..."1234",
    ])
  })

  it("do not wait for the service for ever", () => {
    const [row] = keepEditedRows([], [{ ...view("1"), pending: true }], held("1"))
    expect(row?.pending).toBe(false)
  })
})
