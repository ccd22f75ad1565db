"use client"

import { createContext, useCallback, useContext, useEffect, useRef, useState } from "react"
import type { TaskView } from "@/data/task"

/** By the key of a row: how many edits are open in it. */
export type Held = ReadonlyMap<string, number>

type Hold = (key: string, by: 1 | -1) => void

/** How a row says that an edit in it has been opened or closed. */
export const HoldRow = createContext<Hold>(() => undefined)

/** Keeps the row of a task in the list for as long as something is being typed there. */
export function useHeldRow(key: string, open: boolean): void {
  const hold = useContext(HoldRow)
  useEffect(() => {
    if (!open) return
    hold(key, 1)
    return () => hold(key, -1)
  }, [hold, key, open])
}

/**
 * The rows to draw: the tasks, and those among the earlier ones that are being edited here, though somebody else has
 * deleted or completed them, or the filters leave them out now.
 */
export function useHeldRows(tasks: TaskView[], onGone: (key: string) => void) {
  const [held, setHeld] = useState<Held>(() => new Map())
  const [drawn, setDrawn] = useState({ tasks, held, rows: tasks })
  let rows = drawn.rows
  if (drawn.tasks !== tasks || drawn.held !== held) {
    rows = withHeld(tasks, drawn.rows, held)
    setDrawn({ tasks, held, rows })
  }

  const latest = useRef({ tasks, onGone })
  useEffect(() => {
    latest.current = { tasks, onGone }
  })
  const hold = useCallback<Hold>((key, by) => {
    // Without its edit nothing keeps the row any more.
    if (by < 0 && !latest.current.tasks.some((task) => task.key === key)) latest.current.onGone(key)
    setHeld((before) => counted(before, key, by))
  }, [])
  const release = useCallback((key: string) => setHeld((before) => without(before, key)), [])
  return { rows, hold, release }
}

/** What is held and not among the tasks any more comes back to where it was: behind the row that it followed. */
export function withHeld(tasks: TaskView[], before: readonly TaskView[], held: Held): TaskView[] {
  const there = new Set(tasks.map(({ key }) => key))
  const missing = before.filter(({ key }) => held.has(key) && !there.has(key))
  if (missing.length === 0) return tasks
  const rows = [...tasks]
  for (const task of missing) {
    const earlier = before.slice(0, before.indexOf(task)).map(({ key }) => key)
    const present = new Set(rows.map(({ key }) => key))
    const follows = earlier.findLast((key) => present.has(key))
    // Without any, -1 and one more: the top.
    const at = rows.findIndex(({ key }) => key === follows) + 1
    rows.splice(at, 0, task.pending ? { ...task, pending: false } : task)
  }
  return rows
}

/** One edit more or less. A row that has been released stays so: its edits close one by one afterwards. */
function counted(held: Held, key: string, by: 1 | -1): Held {
  const count = held.get(key)
  if (count === undefined && by < 0) return held
  const next = (count ?? 0) + by
  return next > 0 ? new Map(held).set(key, next) : without(held, key)
}

function without(held: Held, key: string): Held {
  if (!held.has(key)) return held
  const rest = new Map(held)
  rest.delete(key)
  return rest
}
