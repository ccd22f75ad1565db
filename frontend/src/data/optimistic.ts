import { compareTasks, matchesFilters } from "./order"
import {
  withChanges,
  type Filters,
  type MemberValues,
  type Task,
  type TaskCreate,
  type TaskView,
} from "./task"

/**
 * A change that the user made on this page. `base`: the task as the user saw it. `id` of a change of a task that this page
 * added is the negative draft id, also after the server has assigned an id.
 */
export type Change =
  | { kind: "add"; id: number; draft: Task; input: TaskCreate }
  | { kind: "edit"; id: number; base: Task; members: Partial<MemberValues>; overwrite: boolean }
  | { kind: "complete"; id: number; base: Task; members: { completed: boolean } }
  | { kind: "delete"; id: number; base: Task }
  | { kind: "restore"; id: number; base: Task }

/** Entry of the change log, which is ordered by the time of the change. */
export type LogEntry = {
  change: Change
  /** Number of this confirmation, counted from 1 by this page; undefined while the API has not confirmed the change. */
  confirmed?: number
  /** Task in the response of the API. */
  result?: Task | undefined
}

/**
 * List as read from the API. `asOf`: the number of confirmations when the request was sent, so the list includes at
 * least the changes with `confirmed <= asOf`. `hasMore`: further pages exist.
 */
export type FetchedList = { tasks: readonly Task[]; asOf: number; hasMore: boolean; filters: Filters }

/**
 * Mapping of task ids: a task that this page added has a negative draft id first, and an id of the server later.
 * `serverId` returns the server's id where there is one; `rowKey` returns the same React key for both ids.
 */
export type IdMap = { serverId(id: number): number; rowKey(id: number): string }

/**
 * Return the tasks to show: the fetched list with the optimistic changes that it does not include.
 *
 * The fetched list is never modified, so a rejected change leaves no trace, and a response that is older than a change
 * cannot undo it. A task that no longer matches the filters stays until the list is fetched again, so that the user sees
 * the check mark before the task disappears.
 */
export function applyChanges(fetched: FetchedList, log: readonly LogEntry[], ids: IdMap): TaskView[] {
  let list: TaskView[] = fetched.tasks.map((task) => ({ ...task, pending: false, key: ids.rowKey(task.id) }))
  for (const entry of log) {
    if (!isIncluded(entry, fetched.asOf)) list = applyChange(list, entry, fetched, ids)
  }
  return list
}

/** Return how the changes that are not included in a count read at `asOf` alter the number of open tasks. */
export function openCountDelta(asOf: number, log: readonly LogEntry[]): number {
  let delta = 0
  for (const entry of log) {
    if (isIncluded(entry, asOf)) continue
    const { change } = entry
    const before = change.kind === "add" || change.kind === "restore" ? 0 : openCount(change.base)
    const after = change.kind === "delete" ? 0 : openCount(expectedTask(change))
    delta += after - before
  }
  return delta
}

/** Return whether a response to a request sent at `asOf` confirmations includes the change. */
export function isIncluded({ confirmed }: LogEntry, asOf: number): boolean {
  return confirmed !== undefined && confirmed <= asOf
}

/** Return 1 for an open task and 0 for a completed one. */
function openCount(task: Task): number {
  return task.completed ? 0 : 1
}

/** Return the task as it is expected to be after a change, without the response of the API. */
export function expectedTask(change: Change): Task {
  switch (change.kind) {
    case "add":
      return change.draft
    case "edit":
    case "complete":
      return withChanges(change.base, change.members)
    case "delete":
      return change.base
    case "restore":
      return { ...change.base, deleted_at: null }
  }
}

/** Return the list with one change applied: the task removed, replaced, moved or inserted. */
function applyChange(
  list: TaskView[],
  { change, confirmed, result }: LogEntry,
  fetched: FetchedList,
  ids: IdMap,
): TaskView[] {
  const id = ids.serverId(change.id)
  const index = list.findIndex((task) => task.id === id)
  const existing = list[index]
  if (change.kind === "delete") return existing ? list.toSpliced(index, 1) : list
  // The list is newer than the response to this change: it includes later changes by other clients.
  if (existing && result && existing.version > result.version) return list

  const members = change.kind === "edit" || change.kind === "complete" ? change.members : undefined
  const after = result ?? (existing && members ? withChanges(existing, members) : expectedTask(change))
  const view: TaskView = { ...after, id, pending: confirmed === undefined, key: ids.rowKey(id) }
  if (existing) {
    return compareTasks(view, existing, fetched.filters.sort) === 0
      ? list.with(index, view)
      : insertSorted(list.toSpliced(index, 1), view, fetched, true)
  }
  const isNew = change.kind === "add" || change.kind === "restore"
  // A task that matched the filters before and is not in the list is on a page that has not been loaded.
  if (!matchesFilters(view, fetched.filters) || (!isNew && matchesFilters(change.base, fetched.filters)))
    return list
  return insertSorted(list, view, fetched, change.kind === "add")
}

/**
 * Insert a task at its sort position. After the last loaded task only if there are no further pages, where its position
 * might be, or with `always`.
 */
function insertSorted(
  list: TaskView[],
  view: TaskView,
  { filters, hasMore }: FetchedList,
  always: boolean,
): TaskView[] {
  const index = list.findIndex((other) => compareTasks(view, other, filters.sort) < 0)
  if (index >= 0) return list.toSpliced(index, 0, view)
  return hasMore && !always ? list : [...list, view]
}
