import type { Filters, Task } from "./task"

const PRIORITIES = { none: 0, low: 1, medium: 2, high: 3 }
const MARKS = /[\u0300-\u036f]/g

type Sort = Filters["sort"]
type Key = (string | number)[]

/** Text as the service compares it: case and accents gone. */
export function fold(text: string): string {
  // Upper case first: it is what makes an "ss" of "ß".
  const folded = text.normalize("NFKD").toUpperCase().toLowerCase().normalize("NFKD")
  return folded.replace(MARKS, "").normalize("NFKC")
}

/** Whether a list with these filters shows the task. */
export function matches(task: Task, { show, search }: Pick<Filters, "show" | "search">): boolean {
  if (show !== "all" && task.completed !== (show === "done")) return false
  const sought = fold(search.trim())
  return [task.title, task.description ?? ""].some((text) => fold(text).includes(sought))
}

/** Below zero if one stands before the other in a list sorted like this. */
export function compare(one: Task, other: Task, sort: Sort): number {
  const [left, right] = [keyOf(one, sort), keyOf(other, sort)]
  for (const [index, value] of left.entries()) {
    const against = right[index] ?? value
    if (value !== against) return (value < against ? -1 : 1) * (sort.startsWith("-") ? -1 : 1)
  }
  return 0
}

/** The service's own keys; ids are given in the order of creation. */
function keyOf(task: Task, sort: Sort): Key {
  switch (sort) {
    case "title":
      return [fold(task.title), age(task.id)]
    case "-priority":
      return [PRIORITIES[task.priority], age(task.id)]
    case "due":
      // "~" comes after all digits: undated tasks stand last, and so does within a day what has no time.
      return [task.due_date ? `${task.due_date}T${task.due_time ?? "~"}` : "~", age(task.id)]
    default:
      return [age(task.id)]
  }
}

/** A task without an id of the service yet, -1, -2…, is newer than all that have one. */
function age(id: number): number {
  return id > 0 ? id : 2 ** 50 - id
}
