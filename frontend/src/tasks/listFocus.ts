"use client"

import { useEffect, useRef, useState, type RefObject } from "react"
import type { TaskView } from "@/data/hooks"

export type Part = "check" | "title" | "more"

export type FocusKeeper = {
  /** The row is about to leave the list: its successor gets the focus, or what stands in for a row. */
  leaving(key: string, part: Part): void
  /** The row with this task is about to appear: it gets the focus. */
  arriving(id: number): void
}

/** Keeps the keyboard where the person works when the element that has the focus goes away. */
export function useFocusKeeper(
  tasks: TaskView[],
  list: RefObject<HTMLElement | null>,
  box: RefObject<HTMLElement | null>,
): FocusKeeper {
  const shown = useRef(tasks)
  const gone = useRef<{ key: string; next: string | null; part: Part } | null>(null)
  const coming = useRef<number | null>(null)

  useEffect(() => {
    shown.current = tasks
    const focus = (row: string, part: Part) =>
      list.current
        ?.querySelector<HTMLElement>(`[data-key="${CSS.escape(row)}"] [data-part="${part}"]`)
        ?.focus()

    if (gone.current && !tasks.some(({ key }) => key === gone.current?.key)) {
      const { next, part } = gone.current
      gone.current = null
      // Whoever has moved on meanwhile is left alone.
      if (document.activeElement === document.body) {
        if (next) focus(next, part)
        else box.current?.focus()
      }
    }
    const arrived = tasks.find(({ id }) => id === coming.current)
    if (arrived) {
      coming.current = null
      focus(arrived.key, "title")
    }
  }, [tasks, list, box])

  const [keeper] = useState<FocusKeeper>(() => ({
    leaving(key, part) {
      const at = shown.current.findIndex((task) => task.key === key)
      const next = shown.current[at + 1] ?? shown.current[at - 1]
      gone.current = { key, next: next?.key ?? null, part }
    },
    arriving(id) {
      coming.current = id
    },
  }))
  return keeper
}
