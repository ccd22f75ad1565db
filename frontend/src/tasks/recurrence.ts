/*
 * RRULEs (RFC 5545) as the page offers them, in the normal form of the API. By RFC 5545 a monthly rule from the 31st skips
 * the months without a 31st, and a yearly one from February 29 all but leap years. Users expect the last day of these
 * months instead, so there the page chooses a rule that says it: of the days 28 to 31 the last one that the month has.
 */

/** Choices whose rule depends on the due date. */
const MONTHLY = "monthly"
const YEARLY = "yearly"

const LAST_DAY_OF_MONTH = monthlyUntilDay(31)
const LAST_DAY_OF_FEBRUARY = "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1"

const LABELS: Record<string, string> = {
  "": "Never",
  "FREQ=DAILY": "Daily",
  "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR": "Weekdays",
  "FREQ=WEEKLY": "Weekly",
  "FREQ=MONTHLY": "Monthly",
  [monthlyUntilDay(29)]: "Monthly on the 29th or the last day",
  [monthlyUntilDay(30)]: "Monthly on the 30th or the last day",
  [LAST_DAY_OF_MONTH]: "Monthly on the last day",
  "FREQ=MONTHLY;BYMONTHDAY=-1": "Monthly on the last day",
  "FREQ=YEARLY": "Yearly",
  [LAST_DAY_OF_FEBRUARY]: "Yearly on the last day of February",
}

/** Return the rule for a day of the month from 29 to 31: on that day, or on the last day of a shorter month. */
function monthlyUntilDay(day: number): string {
  const days = [28, 29, 30, 31].filter((each) => each <= day)
  return `FREQ=MONTHLY;BYMONTHDAY=${days.join(",")};BYSETPOS=-1`
}

/** Return the RRULE of a choice for a due date (`YYYY-MM-DD`, "" for none); "" for no recurrence. */
export function ruleOfChoice(choice: string, date: string): string {
  const day = Number(date.slice(8))
  if (choice === MONTHLY) return day > 28 ? monthlyUntilDay(day) : "FREQ=MONTHLY"
  if (choice === YEARLY) return date.endsWith("-02-29") ? LAST_DAY_OF_FEBRUARY : "FREQ=YEARLY"
  return choice
}

/**
 * Return the choice that a rule corresponds to, with the due date of its task. A choice is a rule, or `MONTHLY` or
 * `YEARLY`, whose rule follows a change of the date. A rule that skips months or names the last day does not follow it.
 */
export function choiceOfRule(rule: string, date: string): string {
  const plain = { "FREQ=MONTHLY": MONTHLY, "FREQ=YEARLY": YEARLY }[rule]
  return plain && ruleOfChoice(plain, date) === rule ? plain : rule
}

/** Return the label of an RRULE, or "Custom" for a rule of another client that the page does not offer. */
export function recurrenceLabel(rule: string, date: string): string {
  if (choiceOfRule(rule, date) === "FREQ=MONTHLY") return "Monthly, not in shorter months"
  if (choiceOfRule(rule, date) === "FREQ=YEARLY") return "Yearly, in leap years only"
  return LABELS[rule] ?? "Custom"
}

/**
 * Return the options of the select for a due date. `kept`: the choice of the stored task and the one that is selected,
 * which stay among them, so that saving the form keeps a custom rule.
 */
export function recurrenceChoices(date: string, ...kept: string[]): { value: string; label: string }[] {
  const offered = ["", "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "FREQ=WEEKLY", MONTHLY]
  if (isLastDayOfMonth(date)) offered.push(LAST_DAY_OF_MONTH)
  const choices = [...offered, YEARLY, ...kept]
  // Rules with the same label mean the same: one option, the last of them.
  const byLabel = new Map(choices.map((value) => [recurrenceLabel(ruleOfChoice(value, date), date), value]))
  return [...byLabel].map(([label, value]) => ({ value, label }))
}

/** Return whether a date (`YYYY-MM-DD`) is the last day of its month; false for "". */
function isLastDayOfMonth(date: string): boolean {
  const [year = NaN, month = NaN, day = NaN] = date.split("-").map(Number)
  return new Date(Date.UTC(year, month, 0)).getUTCDate() === day
}
