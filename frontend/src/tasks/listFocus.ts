"use client"

import { useEffect, useRef, useState, type RefObject } from "react"
import type { TaskView } from "@/data/hooks"

/** Element of a row that can get the focus: the checkbox, the title or the button for details (`data-part`). */
export type RowPart = "check" | "title" | "more"

export type ListFocus = {
  /** Announce that a row will be removed: the next row's `part` gets the focus, or the fallback if no row is left. */
  rowWillLeave(key: string, part: RowPart): void
  /** Announce that a row for this task will be inserted: its title gets the focus. */
  rowWillAppear(id: number): void
}

/** Move the focus to a neighboring row when the row that has it is removed, so that keyboard users keep their place. */
export function useListFocus(
  tasks: TaskView[],
  list: RefObject<HTMLElement | null>,
  fallback: RefObject<HTMLElement | null>,
): ListFocus {
  const shown = useRef(tasks)
  const leaving = useRef<{ key: string; next: string | null; part: RowPart } | null>(null)
  const expectedId = useRef<number | null>(null)

  useEffect(() => {
    shown.current = tasks
    const focus = (row: string, part: RowPart) =>
      list.current
        ?.querySelector<HTMLElement>(`[data-key="${CSS.escape(row)}"] [data-part="${part}"]`)
        ?.focus()

    if (leaving.current && !tasks.some(({ key }) => key === leaving.current?.key)) {
      const { next, part } = leaving.current
      leaving.current = null
      // Only if the focus was lost; the user may have moved it to another element meanwhile.
      if (document.activeElement === document.body) {
        if (next) focus(next, part)
        else fallback.current?.focus()
      }
    }
    const arrived = tasks.find(({ id }) => id === expectedId.current)
    if (arrived) {
      expectedId.current = null
      focus(arrived.key, "title")
    }
  }, [tasks, list, fallback])

  const [listFocus] = useState<ListFocus>(() => ({
    rowWillLeave(key, part) {
      const at = shown.current.findIndex((task) => task.key === key)
      const next = shown.current[at + 1] ?? shown.current[at - 1]
      leaving.current = { key, next: next?.key ?? null, part }
    },
    rowWillAppear(id) {
      expectedId.current = id
    },
  }))
  return listFocus
}
