import type { Task, TaskUpdate } from "@/data/hooks"
import { recurrenceLabel } from "./recurrence"

/** The further members of a task, as the fields of a form hold them. */
export type FormValues = {
  description: string
  priority: Task["priority"]
  tags: string
  date: string
  time: string
  repeat: string
}

const LABELS: [keyof TaskUpdate, keyof FormValues, string][] = [
  ["description", "description", "Description"],
  ["priority", "priority", "Priority"],
  ["recurrence", "repeat", "Repeat"],
  ["due_date", "date", "Due date"],
  ["due_time", "time", "Due time"],
  ["tags", "tags", "Tags"],
]

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

/** Comma-separated, and each only once: the API refuses two that differ only in case. */
export function parseTags(text: string): string[] {
  const tags = new Map<string, string>()
  for (const tag of text.split(",").map((part) => part.trim())) {
    const folded = tag.toLowerCase()
    if (tag && !tags.has(folded)) tags.set(folded, tag)
  }
  return [...tags.values()]
}

/** Only what the person changed, so that a change made elsewhere meanwhile to something else stays. */
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
  // A time and a repetition have no meaning without a date: who takes the date away takes them along.
  if (before.date && !now.date) {
    if (before.time && now.time === before.time) Object.assign(changes, { due_time: null, time_zone: null })
    if (before.repeat && now.repeat === before.repeat) changes.recurrence = null
  }
  return changes
}

/** What somebody else made of the members that these changes are about, for the person to choose. */
export function describeTheirChanges(seen: Task, theirs: Task, changes: TaskUpdate): string {
  const before = toFormValues(seen)
  const now = toFormValues(theirs)
  return LABELS.filter(([member, field]) => member in changes && now[field] !== before[field])
    .map(([, field, label]) => `${label}: ${displayValue(field, now[field])}`)
    .join("\n")
}

function displayValue(field: keyof FormValues, value: string): string {
  if (field === "repeat") return recurrenceLabel(value)
  const text = value.length > 200 ? `${value.slice(0, 200)}…` : value
  return text || "none"
}
