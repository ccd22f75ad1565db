"use client"

import { useEffect, useRef, useState, type RefObject } from "react"
import type { TaskView } from "@/data/hooks"

export type RowPart = "check" | "title" | "more"

export type ListFocus = {
  /** The row is about to leave the list: its successor gets the focus, or what stands in for a row. */
  rowWillLeave(key: string, part: RowPart): void
  /** The row with this task is about to appear: it gets the focus. */
  rowWillAppear(id: number): void
}

/** Keeps the keyboard where the person works when the element that has the focus goes away. */
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
      // Whoever has moved on meanwhile is left alone.
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
