import type { Task, TaskUpdate } from "@/data/hooks"
import { repeatLabel } from "./recurrence"

/** The further members of a task, as the fields of a form hold them. */
export type Details = {
  description: string
  priority: Task["priority"]
  tags: string
  date: string
  time: string
  repeat: string
}

const labels: [keyof TaskUpdate, keyof Details, string][] = [
  ["description", "description", "Description"],
  ["priority", "priority", "Priority"],
  ["recurrence", "repeat", "Repeat"],
  ["due_date", "date", "Due date"],
  ["due_time", "time", "Due time"],
  ["tags", "tags", "Tags"],
]

export function detailsOf(task: Task): Details {
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
export function tagsOf(text: string): string[] {
  const tags = new Map<string, string>()
  for (const tag of text.split(",").map((part) => part.trim())) {
    const same = tag.toLowerCase()
    if (tag && !tags.has(same)) tags.set(same, tag)
  }
  return [...tags.values()]
}

/** Only what the person changed, so that a change made elsewhere meanwhile to something else stays. */
export function changesOf(task: Task, now: Details, zone: string): TaskUpdate {
  const before = detailsOf(task)
  const changes: TaskUpdate = {}
  if (now.description !== before.description) changes.description = now.description || null
  if (now.priority !== before.priority) changes.priority = now.priority
  if (now.tags !== before.tags) {
    const tags = tagsOf(now.tags)
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
export function theirWords(seen: Task, theirs: Task, changes: TaskUpdate): string {
  const before = detailsOf(seen)
  const now = detailsOf(theirs)
  return labels
    .filter(([member, field]) => member in changes && now[field] !== before[field])
    .map(([, field, label]) => `${label}: ${wordsOf(field, now[field])}`)
    .join("\n")
}

function wordsOf(field: keyof Details, value: string): string {
  if (field === "repeat") return repeatLabel(value)
  const text = value.length > 200 ? `${value.slice(0, 200)}…` : value
  return text || "none"
}
