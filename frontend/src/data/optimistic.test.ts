import { expect, test } from "vitest"
import { openBeyond, shown, type Change, type Entry, type Told } from "./optimistic"
import { draft, type Filters, type Task } from "./task"

const NAMES = { id: (id: number) => id, key: (id: number) => String(id) }

function task(id: number, more: Partial<Task> = {}): Task {
  return { ...draft({ title: `Task ${id}` }, id, "alice"), version: id, ...more }
}

function told(tasks: Task[], filters: Partial<Filters> = {}, hasMore = false): Told {
  return { tasks, asOf: 0, hasMore, filters: { show: "all", search: "", sort: "-created_at", ...filters } }
}

function titles(list: Told, ...entries: (Change | Entry)[]): string[] {
  const log = entries.map((entry) => ("kind" in entry ? { change: entry } : entry))
  return shown(list, log, NAMES).map(({ title }) => title)
}

function added(title: string, more: Partial<Task> = {}): Change {
  return { kind: "add", id: -1, input: { title }, draft: { ...draft({ title }, -1, "alice"), ...more } }
}

const complete = (seen: Task, completed = true): Change => ({
  ...{ kind: "complete", id: seen.id, seen },
  members: { completed },
})
const rename = (seen: Task, title: string): Change => ({
  ...{ kind: "edit", id: seen.id, seen, overwrite: false },
  members: { title },
})

test("what is new stands where the sort puts it, even where the list has not been read to", () => {
  const list = [task(2), task(1)]
  expect(titles(told(list), added("New"))).toEqual(["New", "Task 2", "Task 1"])
  const oldest = told([task(1), task(2)], { sort: "created_at" }, true)
  expect(titles(oldest, added("New"))).toEqual(["Task 1", "Task 2", "New"])
  expect(titles(told([task(1), task(2)], { sort: "title" }), added("Task 10"))).toEqual([
    ...["Task 1", "Task 10", "Task 2"],
  ])
})

test("what the filters hide is not added", () => {
  expect(titles(told([], { show: "done" }), added("New"))).toEqual([])
  expect(titles(told([], { search: "milk" }), added("Bread"), added("Oat MILK"))).toEqual(["Oat MILK"])
})

test("what begins to match comes in, unless its place has not been read yet", () => {
  const seen = task(1)
  expect(titles(told([task(2, { completed: true })], { show: "done" }), complete(seen))).toEqual([
    "Task 2",
    "Task 1",
  ])
  expect(titles(told([task(2, { completed: true })], { show: "done" }, true), complete(seen))).toEqual([
    "Task 2",
  ])
})

test("what matched before and is not here is on a later page, and stays there", () => {
  expect(titles(told([task(5)], {}, true), rename(task(1), "Renamed"))).toEqual(["Task 5"])
})

test("what no longer matches stays for now", () => {
  const seen = task(1)
  expect(titles(told([seen], { show: "open" }), complete(seen))).toEqual(["Task 1"])
})

test("what is sorted by moves at once", () => {
  const seen = task(1)
  const list = told([seen, task(2), task(3)], { sort: "title" })
  expect(titles(list, rename(seen, "Task 25"))).toEqual(["Task 2", "Task 25", "Task 3"])
})

test("what was told later than a change was confirmed has the last word", () => {
  const seen = task(1)
  const confirmed = {
    change: rename(seen, "Mine"),
    confirmed: 3,
    answer: { ...seen, title: "Mine", version: 7 },
  }
  expect(titles({ ...told([{ ...seen, title: "Theirs" }]), asOf: 3 }, confirmed)).toEqual(["Theirs"])
  expect(titles({ ...told([{ ...seen, title: "Older" }]), asOf: 2 }, confirmed)).toEqual(["Mine"])
  expect(titles({ ...told([{ ...seen, title: "Newer", version: 8 }]), asOf: 2 }, confirmed)).toEqual([
    "Newer",
  ])
})

test("changes that are not confirmed lie on top of what others did to the rest of the task", () => {
  const seen = task(1)
  const [view] = shown(told([{ ...seen, description: "Theirs" }]), [{ change: rename(seen, "Mine") }], NAMES)
  expect(view).toMatchObject({ title: "Mine", description: "Theirs", pending: true })
})

test("open tasks are counted with what is under way", () => {
  const done = task(2, { completed: true })
  const log = [
    added("New"),
    complete(task(1)),
    complete(done, false),
    rename(task(3), "Renamed"),
    ...([
      { kind: "delete", id: 4, seen: task(4) },
      { kind: "delete", id: 2, seen: done },
    ] satisfies Change[]),
    { kind: "restore", id: 5, seen: task(5) } satisfies Change,
  ].map((change, index) => ({ change, confirmed: index + 1 }))
  expect(openBeyond(0, log)).toBe(1 - 1 + 1 + 0 - 1 + 0 + 1)
  expect(openBeyond(6, log)).toBe(1)
  expect(openBeyond(7, log)).toBe(0)
})
