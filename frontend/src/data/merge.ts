import type { Member, Members, Task } from "./task"

/** What this page has last heard of a task it changed, and which members it sent in which words, and how they were kept. */
export type Echo = { answer: Task; sent: Partial<Members>; kept: Partial<Members> }

/** What is known after one more change was answered. */
export function heard(before: Echo | undefined, answer: Task, sent: Partial<Members>): Echo {
  const kept = Object.fromEntries(Object.keys(sent).map((member) => [member, answer[member as Member]]))
  return { answer, sent: { ...before?.sent, ...sent }, kept: { ...before?.kept, ...kept } }
}

/**
 * The members that an edit sets and that somebody else has set to something else since the person saw the task.
 *
 * What this page itself has sent in the meantime is nobody else's, in the wording that the service gave it either.
 */
export function conflicts(seen: Task, wanted: Partial<Members>, current: Task, own?: Echo): Member[] {
  const members = Object.keys(wanted) as Member[]
  return members.filter((member) => {
    if (same(seen[member], current[member]) || same(wanted[member], current[member])) return false
    const reworded = same(own?.sent[member], seen[member]) && same(own?.kept[member], current[member])
    return !reworded
  })
}

/** The members of an edit that change something. */
export function differing(seen: Task, wanted: Partial<Members>): Partial<Members> {
  return Object.fromEntries(
    Object.entries(wanted).filter(([member, value]) => !same(seen[member as Member], value)),
  )
}

/** Values of members are words, flags, null and lists of words. */
function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
