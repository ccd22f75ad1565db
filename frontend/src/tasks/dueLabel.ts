import type { Task } from "@/data/hooks"

export type Due = { label: string; overdue: boolean }

type Dated = Pick<Task, "completed" | "due_date" | "due_time" | "due_at">

const day = 24 * 60 * 60 * 1000

/** A due date is a date on the wall, not an instant: it is compared in the time zone of whoever looks at it. */
export function dueOf(task: Dated, now: Date): Due | null {
  if (!task.due_date) return null
  // A time with a zone is an instant; it may well fall on another date here.
  const at = task.due_at ? new Date(task.due_at) : new Date(`${task.due_date}T${task.due_time ?? "00:00"}`)
  const passed = task.due_time ? at < now : days(at) < days(now)
  const time = task.due_time ? `, ${at.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" })}` : ""
  return { label: dayName(at, now) + time, overdue: passed && !task.completed }
}

function dayName(at: Date, now: Date): string {
  const distance = days(at) - days(now)
  if (distance === 0) return "Today"
  if (distance === 1) return "Tomorrow"
  if (distance === -1) return "Yesterday"
  const sameYear = at.getFullYear() === now.getFullYear()
  return at.toLocaleDateString("en", {
    day: "numeric",
    month: "short",
    ...(distance > 1 && distance < 7 ? { weekday: "short" } : {}),
    ...(sameYear ? {} : { year: "numeric" }),
  })
}

/** Counts calendar days; days of 23 and 25 hours count once as well. */
function days(at: Date): number {
  return Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / day
}
