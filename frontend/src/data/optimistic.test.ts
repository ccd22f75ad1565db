import { expect, test } from "vitest"
import { applyChanges, openCountDelta, type Change, type FetchedList, type LogEntry } from "./optimistic"
import { createDraft, type Filters, type Task } from "./task"

const IDS = { serverId: (id: number) => id, rowKey: (id: number) => String(id) }

function task(id: number, more: Partial<Task> = {}): Task {
  return { ...createDraft({ title: `Task ${id}` }, id, "alice"), version: id, ...more }
}

function fetched(tasks: Task[], filters: Partial<Filters> = {}, hasMore = false): FetchedList {
  return { tasks, asOf: 0, hasMore, filters: { show: "all", search: "", sort: "-created_at", ...filters } }
}

function titles(list: FetchedList, ...entries: (Change | LogEntry)[]): string[] {
  const log = entries.map((entry) => ("kind" in entry ? { change: entry } : entry))
  return applyChanges(list, log, IDS).map(({ title }) => title)
}

function added(title: string, more: Partial<Task> = {}): Change {
  return { kind: "add", id: -1, input: { title }, draft: { ...createDraft({ title }, -1, "alice"), ...more } }
}

const complete = (base: Task, completed = true): Change => ({
  ...{ kind: "complete", id: base.id, base },
  members: { completed },
})
const rename = (base: Task, title: string): Change => ({
  ...{ kind: "edit", id: base.id, base, overwrite: false },
  members: { title },
})

test("a new task is inserted at its sort position, even after the last loaded page", () => {
  const list = [task(2), task(1)]
  expect(titles(fetched(list), added("New"))).toEqual(["New", "Task 2", "Task 1"])
  const oldest = fetched([task(1), task(2)], { sort: "created_at" }, true)
  expect(titles(oldest, added("New"))).toEqual(["Task 1", "Task 2", "New"])
  expect(titles(fetched([task(1), task(2)], { sort: "title" }), added("Task 10"))).toEqual([
    ...["Task 1", "Task 10", "Task 2"],
  ])
})

test("a new task that does not match the filters is not inserted", () => {
  expect(titles(fetched([], { show: "done" }), added("New"))).toEqual([])
  expect(titles(fetched([], { search: "milk" }), added("Bread"), added("Oat MILK"))).toEqual(["Oat MILK"])
})

test("a task that starts to match is inserted unless its position is on a page that is not loaded", () => {
  const base = task(1)
  expect(titles(fetched([task(2, { completed: true })], { show: "done" }), complete(base))).toEqual([
    "Task 2",
    "Task 1",
  ])
  expect(titles(fetched([task(2, { completed: true })], { show: "done" }, true), complete(base))).toEqual([
    "Task 2",
  ])
})

test("a matching task that is not in the list is on a later page and is not inserted", () => {
  expect(titles(fetched([task(5)], {}, true), rename(task(1), "Renamed"))).toEqual(["Task 5"])
})

test("a task that no longer matches stays until the list is refetched", () => {
  const base = task(1)
  expect(titles(fetched([base], { show: "open" }), complete(base))).toEqual(["Task 1"])
})

test("a change of the sort key moves the task immediately", () => {
  const base = task(1)
  const list = fetched([base, task(2), task(3)], { sort: "title" })
  expect(titles(list, rename(base, "Task 25"))).toEqual(["Task 2", "Task 25", "Task 3"])
})

test("a list that was read after the confirmation replaces the change", () => {
  const base = task(1)
  const confirmed = {
    change: rename(base, "Mine"),
    confirmed: 3,
    result: { ...base, title: "Mine", version: 7 },
  }
  expect(titles({ ...fetched([{ ...base, title: "Theirs" }]), asOf: 3 }, confirmed)).toEqual(["Theirs"])
  expect(titles({ ...fetched([{ ...base, title: "Older" }]), asOf: 2 }, confirmed)).toEqual(["Mine"])
  expect(titles({ ...fetched([{ ...base, title: "Newer", version: 8 }]), asOf: 2 }, confirmed)).toEqual([
    "Newer",
  ])
})

test("an unconfirmed change is applied on top of other clients' changes of other members", () => {
  const base = task(1)
  const [view] = applyChanges(
    fetched([{ ...base, description: "Theirs" }]),
    [{ change: rename(base, "Mine") }],
    IDS,
  )
  expect(view).toMatchObject({ title: "Mine", description: "Theirs", pending: true })
})

test("the open count includes changes that the last poll does not include", () => {
  const done = task(2, { completed: true })
  const log = [
    added("New"),
    complete(task(1)),
    complete(done, false),
    rename(task(3), "Renamed"),
    ...([
      { kind: "delete", id: 4, base: task(4) },
      { kind: "delete", id: 2, base: done },
    ] satisfies Change[]),
    { kind: "restore", id: 5, base: task(5) } satisfies Change,
  ].map((change, index) => ({ change, confirmed: index + 1 }))
  expect(openCountDelta(0, log)).toBe(1 - 1 + 1 + 0 - 1 + 0 + 1)
  expect(openCountDelta(6, log)).toBe(1)
  expect(openCountDelta(7, log)).toBe(0)
})
