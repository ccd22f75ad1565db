import { describe, expect, it } from "vitest"
import { formatDue } from "./dueLabel"

const now = new Date(2026, 2, 10, 15, 0)

function due(due_date: string | null, due_time: string | null = null, completed = false) {
  return formatDue({ completed, due_date, due_time, due_at: null }, now)
}

describe("formatDue", () => {
  it("returns null without a date", () => {
    expect(due(null)).toBeNull()
  })

  it.each([
    ["2026-03-10", "Today", false],
    ["2026-03-11", "Tomorrow", false],
    ["2026-03-09", "Yesterday", true],
    ["2026-03-14", "Sat, Mar 14", false],
    ["2026-05-01", "May 1", false],
    ["2027-01-02", "Jan 2, 2027", false],
    ["2025-12-31", "Dec 31, 2025", true],
  ])("%s is %s", (date, label, overdue) => {
    expect(due(date)).toEqual({ label, overdue })
  })

  it("compares minutes when there is a due time", () => {
    expect(due("2026-03-10", "14:59")?.overdue).toBe(true)
    expect(due("2026-03-10", "15:01")?.overdue).toBe(false)
  })

  it("is never overdue for a completed task", () => {
    expect(due("2020-01-01", null, true)?.overdue).toBe(false)
  })

  it("uses due_at in the browser's time zone where there is one", () => {
    const at = new Date(2026, 2, 11, 1, 30).toISOString()
    const due = formatDue({ completed: false, due_date: "2026-03-10", due_time: "23:30", due_at: at }, now)
    expect(due?.label).toMatch(/^Tomorrow, 1:30/)
  })
})
