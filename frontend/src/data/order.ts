import { foldText } from "./fold"
import type { Filters, Task } from "./task"

const PRIORITIES = { none: 0, low: 1, medium: 2, high: 3 }

type Sort = Filters["sort"]
type SortKey = (string | number)[]

/** Return whether a list with these filters contains the task. */
export function matchesFilters(task: Task, { show, search }: Pick<Filters, "show" | "search">): boolean {
  if (show !== "all" && task.completed !== (show === "done")) return false
  const text = foldText(search.trim())
  return [task.title, task.description ?? ""].some((value) => foldText(value).includes(text))
}

/** Compare two tasks for `Array.sort`: negative if `one` is before `other` in a list with this sort. */
export function compareTasks(one: Task, other: Task, sort: Sort): number {
  const [left, right] = [sortKey(one, sort), sortKey(other, sort)]
  for (const [index, value] of left.entries()) {
    const otherValue = right[index] ?? value
    if (value !== otherValue) return (value < otherValue ? -1 : 1) * (sort.startsWith("-") ? -1 : 1)
  }
  return 0
}

/** Return the sort key that the API uses; the id, which grows with the time of creation, breaks ties. */
function sortKey(task: Task, sort: Sort): SortKey {
  switch (sort) {
    case "title":
      return [foldText(task.title), creationOrder(task.id)]
    case "-priority":
      return [PRIORITIES[task.priority], creationOrder(task.id)]
    case "due":
      // "~" sorts after all digits: tasks without a date are last, and tasks without a time are last within their day.
      return [task.due_date ? `${task.due_date}T${task.due_time ?? "~"}` : "~", creationOrder(task.id)]
    default:
      return [creationOrder(task.id)]
  }
}

/** Map an id to a number that grows with the time of creation; draft ids -1, -2… are newer than all ids of the server. */
function creationOrder(id: number): number {
  return id > 0 ? id : 2 ** 50 - id
}
