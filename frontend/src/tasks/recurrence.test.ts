import { describe, expect, it } from "vitest"
import { choiceOfRule, recurrenceChoices, recurrenceLabel, ruleOfChoice } from "./recurrence"

const LAST_DAY = "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"

/** Return the label and the rule of each option for a due date, without those that do not depend on it. */
function options(date: string, ...kept: string[]): [string, string][] {
  return recurrenceChoices(date, ...kept)
    .filter(({ label }) => !["Never", "Daily", "Weekdays", "Weekly"].includes(label))
    .map(({ value, label }) => [label, ruleOfChoice(value, date)])
}

describe("recurrenceChoices", () => {
  it.each([
    ["2026-11-28", "Monthly", "FREQ=MONTHLY"],
    ["2026-11-29", "Monthly on the 29th or the last day", "FREQ=MONTHLY;BYMONTHDAY=28,29;BYSETPOS=-1"],
    ["2026-12-30", "Monthly on the 30th or the last day", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1"],
    ["2026-12-31", "Monthly on the last day", LAST_DAY],
    ["", "Monthly", "FREQ=MONTHLY"],
  ])("offers for %s “%s”, which skips no month", (date, label, rule) => {
    expect(options(date)).toEqual([
      [label, rule],
      ["Yearly", "FREQ=YEARLY"],
    ])
  })

  it("offers the last day of February every year for February 29, and the last day of the month", () => {
    expect(options("2028-02-29")).toEqual([
      ["Monthly on the 29th or the last day", "FREQ=MONTHLY;BYMONTHDAY=28,29;BYSETPOS=-1"],
      ["Monthly on the last day", LAST_DAY],
      ["Yearly on the last day of February", "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1"],
    ])
    expect(options("2026-11-30").map(([label]) => label)).toContain("Monthly on the last day")
    expect(options("2027-02-28").map(([label]) => label)).toContain("Monthly on the last day")
    expect(options("2028-02-28").map(([label]) => label)).not.toContain("Monthly on the last day")
  })

  it("keeps the stored and the selected choice, each label once", () => {
    const custom = "FREQ=WEEKLY;BYDAY=MO,TH"
    expect(recurrenceChoices("2026-11-15", custom, "FREQ=DAILY").at(-1)).toEqual({
      value: custom,
      label: "Custom",
    })
    for (const date of ["2026-11-15", "2026-11-30", "2026-12-31", "2028-02-29", ""]) {
      for (const stored of [
        "",
        "monthly",
        "yearly",
        LAST_DAY,
        "FREQ=MONTHLY",
        "FREQ=MONTHLY;BYMONTHDAY=-1",
      ]) {
        for (const selected of ["", "monthly", "yearly", LAST_DAY, stored]) {
          const choices = recurrenceChoices(date, stored, selected)
          expect(choices.map(({ value }) => value)).toContain(selected)
          expect(new Set(choices.map(({ label }) => label)).size).toBe(choices.length)
        }
      }
    }
  })
})

describe("choiceOfRule", () => {
  it("follows the date for a monthly or yearly rule that skips nothing", () => {
    expect(choiceOfRule("FREQ=MONTHLY", "2026-11-15")).toBe("monthly")
    expect(choiceOfRule("FREQ=YEARLY", "2026-11-15")).toBe("yearly")
  })

  it.each([
    ["FREQ=MONTHLY", "2026-12-31", "Monthly, not in shorter months"],
    ["FREQ=YEARLY", "2028-02-29", "Yearly, in leap years only"],
    [LAST_DAY, "2026-12-31", "Monthly on the last day"],
    [LAST_DAY, "2027-02-28", "Monthly on the last day"],
    ["FREQ=MONTHLY;BYMONTHDAY=-1", "2027-02-28", "Monthly on the last day"],
    [
      "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1",
      "2027-02-28",
      "Yearly on the last day of February",
    ],
    ["FREQ=WEEKLY;BYDAY=MO,TH", "2026-11-16", "Custom"],
  ])("keeps %s of a task due %s, shown as “%s”", (rule, date, label) => {
    expect(choiceOfRule(rule, date)).toBe(rule)
    expect(recurrenceLabel(rule, date)).toBe(label)
  })
})
