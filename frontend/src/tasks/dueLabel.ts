import type { Task } from "@/data/hooks"

export type DueLabel = { label: string; overdue: boolean }

type DatedTask = Pick<Task, "completed" | "due_date" | "due_time" | "due_at">

const MILLISECONDS_PER_DAY = 24 * 60 * 60 * 1000

/**
 * Return the label of a task's due date ("Tomorrow, 9:30 AM") and whether it is overdue; null without a date. A due date
 * without time zone is a local date: it is compared in the time zone of the browser.
 */
export function formatDue(task: DatedTask, now: Date): DueLabel | null {
  if (!task.due_date) return null
  // With a time zone `due_at` is an instant, which can be on another date in the browser's zone.
  const at = task.due_at ? new Date(task.due_at) : new Date(`${task.due_date}T${task.due_time ?? "00:00"}`)
  const passed = task.due_time ? at < now : calendarDay(at) < calendarDay(now)
  const time = task.due_time ? `, ${at.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" })}` : ""
  return { label: dayName(at, now) + time, overdue: passed && !task.completed }
}

/** Return "Today", "Tomorrow", "Yesterday" or a date with as many parts as needed. */
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

/** Return the number of the local calendar day, for differences in days that ignore daylight saving time. */
function calendarDay(at: Date): number {
  return Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / MILLISECONDS_PER_DAY
}
