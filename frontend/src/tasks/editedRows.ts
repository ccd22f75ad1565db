"use client"

import { createContext, useCallback, useContext, useEffect, useRef, useState } from "react"
import type { TaskView } from "@/data/task"

/** By the key of a row: how many edits are open in it. */
export type OpenEdits = ReadonlyMap<string, number>

type CountEdit = (key: string, by: 1 | -1) => void

/** How a row says that an edit in it has been opened or closed. */
export const EditedRowsContext = createContext<CountEdit>(() => undefined)

/** Keeps the row of a task in the list for as long as something is being typed there. */
export function useKeepRowWhileEditing(key: string, open: boolean): void {
  const countEdit = useContext(EditedRowsContext)
  useEffect(() => {
    if (!open) return
    countEdit(key, 1)
    return () => countEdit(key, -1)
  }, [countEdit, key, open])
}

/**
 * The rows to draw: the tasks, and those among the earlier ones that are being edited here, though somebody else has
 * deleted or completed them, or the filters leave them out now.
 */
export function useRowsWithOpenEdits(tasks: TaskView[], onRowRemoved: (key: string) => void) {
  const [edits, setEdits] = useState<OpenEdits>(() => new Map())
  const [drawn, setDrawn] = useState({ tasks, held: edits, rows: tasks })
  let rows = drawn.rows
  if (drawn.tasks !== tasks || drawn.held !== edits) {
    rows = keepEditedRows(tasks, drawn.rows, edits)
    setDrawn({ tasks, held: edits, rows })
  }

  const latest = useRef({ tasks, onGone: onRowRemoved })
  useEffect(() => {
    latest.current = { tasks, onGone: onRowRemoved }
  })
  const countEdit = useCallback<CountEdit>((key, by) => {
    // Without its edit nothing keeps the row any more.
    if (by < 0 && !latest.current.tasks.some((task) => task.key === key)) latest.current.onGone(key)
    setEdits((before) => changeCount(before, key, by))
  }, [])
  const release = useCallback((key: string) => setEdits((before) => withoutKey(before, key)), [])
  return { rows, hold: countEdit, release }
}

/** What is held and not among the tasks any more comes back to where it was: behind the row that it followed. */
export function keepEditedRows(
  tasks: TaskView[],
  previousRows: readonly TaskView[],
  edits: OpenEdits,
): TaskView[] {
  const listedKeys = new Set(tasks.map(({ key }) => key))
  const missing = previousRows.filter(({ key }) => edits.has(key) && !listedKeys.has(key))
  if (missing.length === 0) return tasks
  const rows = [...tasks]
  for (const task of missing) {
    const earlier = previousRows.slice(0, previousRows.indexOf(task)).map(({ key }) => key)
    const present = new Set(rows.map(({ key }) => key))
    const predecessor = earlier.findLast((key) => present.has(key))
    // Without any, -1 and one more: the top.
    const at = rows.findIndex(({ key }) => key === predecessor) + 1
    rows.splice(at, 0, task.pending ? { ...task, pending: false } : task)
  }
  return rows
}

/** One edit more or less. A row that has been released stays so: its edits close one by one afterwards. */
function changeCount(edits: OpenEdits, key: string, by: 1 | -1): OpenEdits {
  const count = edits.get(key)
  if (count === undefined && by < 0) return edits
  const next = (count ?? 0) + by
  return next > 0 ? new Map(edits).set(key, next) : withoutKey(edits, key)
}

function withoutKey(edits: OpenEdits, key: string): OpenEdits {
  if (!edits.has(key)) return edits
  const rest = new Map(edits)
  rest.delete(key)
  return rest
}
