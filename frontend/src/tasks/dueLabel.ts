import type { Task } from "@/data/hooks"

export type DueLabel = { label: string; overdue: boolean }

type DatedTask = Pick<Task, "completed" | "due_date" | "due_time" | "due_at">

const MILLISECONDS_PER_DAY = 24 * 60 * 60 * 1000

/** A due date is a date on the wall, not an instant: it is compared in the time zone of whoever looks at it. */
export function formatDue(task: DatedTask, now: Date): DueLabel | null {
  if (!task.due_date) return null
  // A time with a zone is an instant; it may well fall on another date here.
  const at = task.due_at ? new Date(task.due_at) : new Date(`${task.due_date}T${task.due_time ?? "00:00"}`)
  const passed = task.due_time ? at < now : calendarDay(at) < calendarDay(now)
  const time = task.due_time ? `, ${at.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" })}` : ""
  return { label: dayName(at, now) + time, overdue: passed && !task.completed }
}

function dayName(at: Date, now: Date): string {
  const distance = calendarDay(at) - calendarDay(now)
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
function calendarDay(at: Date): number {
  return Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / MILLISECONDS_PER_DAY
}
