/** The RRULEs (RFC 5545) that the page offers. */
export const recurrenceOptions = [
  { value: "", label: "Never" },
  { value: "FREQ=DAILY", label: "Daily" },
  { value: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", label: "Weekdays" },
  { value: "FREQ=WEEKLY", label: "Weekly" },
  { value: "FREQ=MONTHLY", label: "Monthly" },
  { value: "FREQ=YEARLY", label: "Yearly" },
]

/** Return the label of an RRULE, or "Custom" for a rule of another client that the page does not offer. */
export function recurrenceLabel(rule: string): string {
  return recurrenceOptions.find(({ value }) => value === rule)?.label ?? "Custom"
}

/** Return the options of the select; a custom rule of the task is one of them, so that saving the form keeps it. */
export function recurrenceChoices(rule: string): { value: string; label: string }[] {
  const known = recurrenceOptions.some(({ value }) => value === rule)
  return known ? recurrenceOptions : [...recurrenceOptions, { value: rule, label: "Custom" }]
}
