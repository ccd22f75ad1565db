import { describe, expect, it } from "vitest"
import type { Task } from "@/data/hooks"
import { describeTheirChanges, parseTags, toFormValues, toTaskUpdate } from "./detailsForm"
import { recurrenceChoices, recurrenceLabel } from "./recurrence"

const task: Task = {
  id: 1,
  user_id: "alice",
  title: "Water the plants",
  description: null,
  completed: false,
  completed_at: null,
  priority: "low",
  tags: ["home", "Garden"],
  due_date: "2026-03-10",
  due_time: "09:30",
  time_zone: "Europe/Berlin",
  due_at: "2026-03-10T08:30:00.000Z",
  recurrence: "FREQ=WEEKLY;BYDAY=MO,TH",
  repeat_from: "due",
  series_id: 1,
  next_task_id: null,
  position: "a1",
  version: 3,
  created_at: "2026-03-01T08:00:00.000Z",
  updated_at: "2026-03-01T08:00:00.000Z",
  deleted_at: null,
}
const shown = toFormValues(task)

describe("toTaskUpdate", () => {
  it("is empty without changes", () => {
    expect(toTaskUpdate(task, shown, "America/Lima")).toEqual({})
    expect(toTaskUpdate(task, { ...shown, tags: " home,Garden ," }, "America/Lima")).toEqual({})
  })

  it("contains only changed members", () => {
    expect(toTaskUpdate(task, { ...shown, priority: "high" }, "America/Lima")).toEqual({ priority: "high" })
    expect(toTaskUpdate(task, { ...shown, date: "2026-03-12" }, "America/Lima")).toEqual({
      due_date: "2026-03-12",
    })
  })

  it("sets the browser's time zone with a new time, and clears it with the time", () => {
    expect(toTaskUpdate(task, { ...shown, time: "10:00" }, "America/Lima")).toEqual({
      due_time: "10:00",
      time_zone: "America/Lima",
    })
    expect(toTaskUpdate(task, { ...shown, time: "" }, "America/Lima")).toEqual({
      due_time: null,
      time_zone: null,
    })
  })

  it("clears time and recurrence with the date", () => {
    expect(toTaskUpdate(task, { ...shown, date: "" }, "America/Lima")).toEqual({
      due_date: null,
      due_time: null,
      time_zone: null,
      recurrence: null,
    })
  })

  it("clears with null", () => {
    const described = { ...task, description: "with rain water" }
    expect(toTaskUpdate(described, { ...toFormValues(described), description: "" }, "UTC")).toEqual({
      description: null,
    })
    expect(toTaskUpdate(task, { ...shown, tags: " , " }, "UTC")).toEqual({ tags: [] })
  })
})

describe("describeTheirChanges", () => {
  it("lists the other client's values of members that both changed", () => {
    const theirs = { ...task, description: "theirs", priority: "high" as const, tags: [], recurrence: null }
    expect(
      describeTheirChanges(task, theirs, { description: "mine", recurrence: "FREQ=DAILY", due_date: null }),
    ).toBe("Description: theirs\nRepeat: Never")
    expect(describeTheirChanges(task, theirs, { tags: ["mine"] })).toBe("Tags: none")
  })
})

describe("parseTags", () => {
  it("splits, trims, and keeps one of the tags that differ in case only", () => {
    expect(parseTags(" a, B ,,b, A, c d , \u200b,\u3164")).toEqual(["a", "B", "c d"])
  })
})

describe("the recurrence", () => {
  it("keeps a rule that the page does not offer", () => {
    expect(recurrenceLabel("FREQ=WEEKLY;BYDAY=MO,TH")).toBe("Custom")
    expect(recurrenceChoices("FREQ=WEEKLY;BYDAY=MO,TH").at(-1)).toEqual({
      value: "FREQ=WEEKLY;BYDAY=MO,TH",
      label: "Custom",
    })
    expect(recurrenceChoices("FREQ=DAILY").some(({ label }) => label === "Custom")).toBe(false)
  })
})
