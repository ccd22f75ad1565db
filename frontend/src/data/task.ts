import type { components } from "@/api/schema"

export type Task = components["schemas"]["Task"]
export type TaskCreate = components["schemas"]["TaskCreate"]
export type TaskUpdate = components["schemas"]["TaskUpdate"]

/**
 * `pending`: not confirmed by the server yet. `key` names the task for React: unlike `id`, which is negative until the
 * server has given one, it stays the same for as long as the page lives.
 */
export type TaskView = Task & { pending: boolean; key: string }

export type Filters = {
  show: "all" | "open" | "done"
  search: string
  sort: "-created_at" | "created_at" | "due" | "-priority" | "title"
}

/** The members that a person can set, with what stands for null where a task has no null. */
const CLEARED = {
  title: "",
  description: null,
  completed: false,
  priority: "none",
  tags: [],
  due_date: null,
  due_time: null,
  time_zone: null,
  recurrence: null,
  repeat_from: "due",
} as const satisfies { [M in Member]: Task[M] | readonly [] }

export type Member =
  | "title"
  | "description"
  | "completed"
  | "priority"
  | "tags"
  | "due_date"
  | "due_time"
  | "time_zone"
  | "recurrence"
  | "repeat_from"

export type Members = { [M in Member]: Task[M] }

/** What was given of those members, as the service will keep it: trimmed, and nothing null that is never null. */
export function settable(given: TaskUpdate): Partial<Members> {
  const members: Partial<Record<Member, unknown>> = {}
  for (const member of Object.keys(CLEARED) as Member[]) {
    const value = given[member]
    if (value === undefined) continue
    members[member] = trimmed(member, value ?? CLEARED[member])
  }
  return members as Partial<Members>
}

function trimmed(member: Member, value: unknown): unknown {
  if (member === "title" && typeof value === "string") return value.trim()
  if (member === "tags" && Array.isArray(value)) return value.map((tag: string) => tag.trim())
  return value
}

/** A task as it will be, before the service has made it. */
export function draft(input: TaskCreate, id: number, userId: string): Task {
  const now = new Date().toISOString()
  const made = { ...CLEARED, tags: [], ...settable(input) }
  return {
    ...made,
    id,
    user_id: userId,
    completed_at: made.completed ? now : null,
    due_at: null,
    series_id: null,
    next_task_id: null,
    position: "",
    version: 0,
    created_at: now,
    updated_at: now,
    deleted_at: null,
  }
}

/** A task with other members. */
export function edited(task: Task, members: Partial<Members>): Task {
  const now = new Date().toISOString()
  const completed = members.completed ?? task.completed
  const completed_at = completed ? (task.completed_at ?? now) : null
  return { ...task, ...members, completed, completed_at, updated_at: now }
}
