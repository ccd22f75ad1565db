import type { MemberName, MemberValues, Task } from "./task"

/**
 * The writes of this page to one task: the task in the latest response, and for each member the value that was sent last
 * and the value that the server stored for it, which may be normalized (an RRULE with its parts in another order).
 */
export type OwnWrites = { latest: Task; sent: Partial<MemberValues>; stored: Partial<MemberValues> }

/** Add one write, with the task in its response, to the writes of a task. */
export function recordWrite(
  previous: OwnWrites | undefined,
  latest: Task,
  sent: Partial<MemberValues>,
): OwnWrites {
  const stored = Object.fromEntries(Object.keys(sent).map((member) => [member, latest[member as MemberName]]))
  return { latest, sent: { ...previous?.sent, ...sent }, stored: { ...previous?.stored, ...stored } }
}

/**
 * Return the members that an edit sets and that another client has set to another value since `base`: a three-way merge
 * by member. Earlier writes of this page are no conflict, not even if the server stored them in normalized form.
 */
export function findConflicts(
  base: Task,
  changes: Partial<MemberValues>,
  current: Task,
  ownWrites?: OwnWrites,
): MemberName[] {
  const members = Object.keys(changes) as MemberName[]
  return members.filter((member) => {
    if (isEqual(base[member], current[member]) || isEqual(changes[member], current[member])) return false
    const isOwnWrite =
      isEqual(ownWrites?.sent[member], base[member]) && isEqual(ownWrites?.stored[member], current[member])
    return !isOwnWrite
  })
}

/** Return the members of an edit whose values differ from the task. */
export function changedMembers(base: Task, changes: Partial<MemberValues>): Partial<MemberValues> {
  return Object.fromEntries(
    Object.entries(changes).filter(([member, value]) => !isEqual(base[member as MemberName], value)),
  )
}

/** Compare two member values as JSON: strings, booleans, null and lists of strings. */
function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
