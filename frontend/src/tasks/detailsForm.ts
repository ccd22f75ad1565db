import { isBlank } from "@/data/blank"
import type { Task, TaskUpdate } from "@/data/hooks"
import { recurrenceLabel } from "./recurrence"

/** Values of the fields in the form for task details; "" for null. */
export type FormValues = {
  description: string
  priority: Task["priority"]
  tags: string
  date: string
  time: string
  repeat: string
}

/** Member of the API, field of the form, and the field's label. */
const LABELS: [keyof TaskUpdate, keyof FormValues, string][] = [
  ["description", "description", "Description"],
  ["priority", "priority", "Priority"],
  ["recurrence", "repeat", "Repeat"],
  ["due_date", "date", "Due date"],
  ["due_time", "time", "Due time"],
  ["tags", "tags", "Tags"],
]

/** Return the form values of a task. */
export function toFormValues(task: Task): FormValues {
  return {
    description: task.description ?? "",
    priority: task.priority,
    tags: task.tags.join(", "),
    date: task.due_date ?? "",
    time: task.due_time ?? "",
    repeat: task.recurrence ?? "",
  }
}

/**
 * Split a comma-separated list of tags, without those that show nothing; of tags that differ only in case keep the first.
 * The API rejects both.
 */
export function parseTags(text: string): string[] {
  const tags = new Map<string, string>()
  for (const tag of text.split(",").map((part) => part.trim())) {
    const folded = tag.toLowerCase()
    if (!isBlank(tag) && !tags.has(folded)) tags.set(folded, tag)
  }
  return [...tags.values()]
}

/**
 * Return the members to send for an edit: only changed ones, so that other clients' changes of other members are kept.
 * `zone`: IANA time zone of the browser, sent with a new due time. Clearing the date clears time and recurrence.
 */
export function toTaskUpdate(task: Task, now: FormValues, zone: string): TaskUpdate {
  const before = toFormValues(task)
  const changes: TaskUpdate = {}
  if (now.description !== before.description) changes.description = now.description || null
  if (now.priority !== before.priority) changes.priority = now.priority
  if (now.tags !== before.tags) {
    const tags = parseTags(now.tags)
    if (tags.join("\n") !== task.tags.join("\n")) changes.tags = tags
  }
  if (now.date !== before.date) changes.due_date = now.date || null
  if (now.repeat !== before.repeat) changes.recurrence = now.repeat || null
  if (now.time !== before.time) {
    changes.due_time = now.time || null
    changes.time_zone = now.time ? zone : null
  }
  // Due time and recurrence need a due date.
  if (before.date && !now.date) {
    if (before.time && now.time === before.time) Object.assign(changes, { due_time: null, time_zone: null })
    if (before.repeat && now.repeat === before.repeat) changes.recurrence = null
  }
  return changes
}

/** Return one line "Label: value" for each member of `changes` that another client has changed since `base`. */
export function describeTheirChanges(base: Task, theirs: Task, changes: TaskUpdate): string {
  const before = toFormValues(base)
  const now = toFormValues(theirs)
  return LABELS.filter(([member, field]) => member in changes && now[field] !== before[field])
    .map(([, field, label]) => `${label}: ${displayValue(field, now[field])}`)
    .join("\n")
}

/** Return a field's value as text, at most 200 characters; "none" if it is empty. */
function displayValue(field: keyof FormValues, value: string): string {
  if (field === "repeat") return recurrenceLabel(value)
  const text = value.length > 200 ? `${value.slice(0, 200)}…` : value
  return text || "none"
}
