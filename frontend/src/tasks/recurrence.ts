export const recurrenceOptions = [
  { value: "", label: "Never" },
  { value: "FREQ=DAILY", label: "Daily" },
  { value: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", label: "Weekdays" },
  { value: "FREQ=WEEKLY", label: "Weekly" },
  { value: "FREQ=MONTHLY", label: "Monthly" },
  { value: "FREQ=YEARLY", label: "Yearly" },
]

/** What a person calls a rule. Rules made elsewhere can say more than this page offers. */
export function recurrenceLabel(rule: string): string {
  return recurrenceOptions.find(({ value }) => value === rule)?.label ?? "Custom"
}

/** The choices for a task: a rule that is none of ours is one of them, so that saving keeps it. */
export function recurrenceChoices(rule: string): { value: string; label: string }[] {
  const known = recurrenceOptions.some(({ value }) => value === rule)
  return known ? recurrenceOptions : [...recurrenceOptions, { value: rule, label: "Custom" }]
}
