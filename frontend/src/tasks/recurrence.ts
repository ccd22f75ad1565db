export const repeats = [
  { value: "", label: "Never" },
  { value: "FREQ=DAILY", label: "Daily" },
  { value: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", label: "Weekdays" },
  { value: "FREQ=WEEKLY", label: "Weekly" },
  { value: "FREQ=MONTHLY", label: "Monthly" },
  { value: "FREQ=YEARLY", label: "Yearly" },
]

/** What a person calls a rule. Rules made elsewhere can say more than this page offers. */
export function repeatLabel(rule: string): string {
  return repeats.find(({ value }) => value === rule)?.label ?? "Custom"
}

/** The choices for a task: a rule that is none of ours is one of them, so that saving keeps it. */
export function repeatChoices(rule: string): { value: string; label: string }[] {
  const known = repeats.some(({ value }) => value === rule)
  return known ? repeats : [...repeats, { value: rule, label: "Custom" }]
}
