import type { components } from "@/api/schema"

export type Task = components["schemas"]["Task"]
export type TaskCreate = components["schemas"]["TaskCreate"]
export type TaskUpdate = components["schemas"]["TaskUpdate"]

/**
 * A task as the page shows it. `pending`: the API has not confirmed the last change yet. `key`: React key, which stays the
 * same when the server replaces the negative draft `id` by its own.
 */
export type TaskView = Task & { pending: boolean; key: string }

export type Filters = {
  show: "all" | "open" | "done"
  search: string
  sort: "-created_at" | "created_at" | "due" | "-priority" | "title"
}

/** The members that a user can set, each with the value that the API stores for null. */
const NULL_VALUES = {
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
} as const satisfies { [M in MemberName]: Task[M] | readonly [] }

export type MemberName =
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

export type MemberValues = { [M in MemberName]: Task[M] }

/** Return the settable members of a request body as the API will store them: trimmed, null replaced by `NULL_VALUES`. */
export function normalizeMembers(input: TaskUpdate): Partial<MemberValues> {
  const members: Partial<Record<MemberName, unknown>> = {}
  for (const member of Object.keys(NULL_VALUES) as MemberName[]) {
    const value = input[member]
    if (value === undefined) continue
    members[member] = trimValue(member, value ?? NULL_VALUES[member])
  }
  return members as Partial<MemberValues>
}

/** Trim a title or the tags; return other values unchanged. */
function trimValue(member: MemberName, value: unknown): unknown {
  if (member === "title" && typeof value === "string") return value.trim()
  if (member === "tags" && Array.isArray(value)) return value.map((tag: string) => tag.trim())
  return value
}

/** Return a task as the API is expected to create it, with a negative draft id and version 0. */
export function createDraft(input: TaskCreate, id: number, userId: string): Task {
  const now = new Date().toISOString()
  const members = { ...NULL_VALUES, tags: [], ...normalizeMembers(input) }
  return {
    ...members,
    id,
    user_id: userId,
    completed_at: members.completed ? now : null,
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

/** Return an optimistic copy of a task with `members` set; `completed_at` and `updated_at` are recomputed. */
export function withChanges(task: Task, members: Partial<MemberValues>): Task {
  const now = new Date().toISOString()
  const completed = members.completed ?? task.completed
  const completed_at = completed ? (task.completed_at ?? now) : null
  return { ...task, ...members, completed, completed_at, updated_at: now }
}
