import { compare, matches } from "./order"
import { edited, type Filters, type Members, type Task, type TaskCreate, type TaskView } from "./task"

export type Change =
  | { kind: "add"; id: number; draft: Task; input: TaskCreate }
  | { kind: "edit"; id: number; seen: Task; members: Partial<Members>; overwrite: boolean }
  | { kind: "complete"; id: number; seen: Task; members: { completed: boolean } }
  | { kind: "delete"; id: number; seen: Task }
  | { kind: "restore"; id: number; seen: Task }

/** A change made on this page, in the order in which they were made. */
export type Entry = {
  change: Change
  /** When the service confirmed it, by the page's own count of confirmations; undefined: not yet. */
  confirmed?: number
  /** The task as the service answered it. */
  answer?: Task | undefined
}

/** Some tasks as the service told them when the page had counted so many confirmations. */
export type Told = { tasks: readonly Task[]; asOf: number; hasMore: boolean; filters: Filters }

/** What goes by the same id: tasks made here have one of the page first and one of the service later. */
export type Names = { id(id: number): number; key(id: number): string }

/**
 * What to show: what the service told, with the changes on top that it did not know of when it did.
 *
 * Nothing is ever written into what was told, so a refused change leaves no trace, and an answer that is older than a
 * change cannot undo it. A task that no longer matches the filters stays until the list is told anew: the person shall
 * see the tick before the task goes.
 */
export function shown(told: Told, log: readonly Entry[], names: Names): TaskView[] {
  let list: TaskView[] = told.tasks.map((task) => ({ ...task, pending: false, key: names.key(task.id) }))
  for (const entry of log) {
    if (!isKnown(entry, told.asOf)) list = changed(list, entry, told, names)
  }
  return list
}

/** By how much the changes that were not known then alter the number of open tasks. */
export function openBeyond(asOf: number, log: readonly Entry[]): number {
  let more = 0
  for (const entry of log) {
    if (isKnown(entry, asOf)) continue
    const { change } = entry
    const before = change.kind === "add" || change.kind === "restore" ? 0 : open(change.seen)
    const after = change.kind === "delete" ? 0 : open(result(change))
    more += after - before
  }
  return more
}

/** Whether the service had confirmed a change when the page had counted so many confirmations. */
export function isKnown({ confirmed }: Entry, asOf: number): boolean {
  return confirmed !== undefined && confirmed <= asOf
}

function open(task: Task): number {
  return task.completed ? 0 : 1
}

/** The task after a change, as the page expects it. */
export function result(change: Change): Task {
  switch (change.kind) {
    case "add":
      return change.draft
    case "edit":
    case "complete":
      return edited(change.seen, change.members)
    case "delete":
      return change.seen
    case "restore":
      return { ...change.seen, deleted_at: null }
  }
}

function changed(
  list: TaskView[],
  { change, confirmed, answer }: Entry,
  told: Told,
  names: Names,
): TaskView[] {
  const id = names.id(change.id)
  const index = list.findIndex((task) => task.id === id)
  const there = list[index]
  if (change.kind === "delete") return there ? list.toSpliced(index, 1) : list
  // The list is the newer of the two: it holds what somebody else did since.
  if (there && answer && there.version > answer.version) return list

  const members = change.kind === "edit" || change.kind === "complete" ? change.members : undefined
  const after = answer ?? (there && members ? edited(there, members) : result(change))
  const view: TaskView = { ...after, id, pending: confirmed === undefined, key: names.key(id) }
  if (there) {
    return compare(view, there, told.filters.sort) === 0
      ? list.with(index, view)
      : placed(list.toSpliced(index, 1), view, told, true)
  }
  const isNew = change.kind === "add" || change.kind === "restore"
  // One that matched before and is not here stands on a page that has not been loaded.
  if (!matches(view, told.filters) || (!isNew && matches(change.seen, told.filters))) return list
  return placed(list, view, told, change.kind === "add")
}

/** In its place; behind all others only if that is where the list ends, or if it is to be seen in any case. */
function placed(list: TaskView[], view: TaskView, { filters, hasMore }: Told, anyway: boolean): TaskView[] {
  const index = list.findIndex((other) => compare(view, other, filters.sort) < 0)
  if (index >= 0) return list.toSpliced(index, 0, view)
  return hasMore && !anyway ? list : [...list, view]
}
