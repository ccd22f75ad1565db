"use client"

import { createContext, useCallback, useContext, useEffect, useRef, useState } from "react"
import type { TaskView } from "@/data/task"

/** Number of open edits by row key; rows without open edits have no entry. */
export type OpenEdits = ReadonlyMap<string, number>

type CountEdit = (key: string, by: 1 | -1) => void

/** Function by which a row reports that an edit in it was opened (1) or closed (-1). */
export const EditedRowsContext = createContext<CountEdit>(() => undefined)

/** Keep the row with this key in the list while `open`, even if its task leaves the list. */
export function useKeepRowWhileEditing(key: string, open: boolean): void {
  const countEdit = useContext(EditedRowsContext)
  useEffect(() => {
    if (!open) return
    countEdit(key, 1)
    return () => countEdit(key, -1)
  }, [countEdit, key, open])
}

/**
 * Return the rows to render: the tasks of the list, and rows with an open edit whose tasks have left the list because
 * another client deleted or completed them, or because the filters changed. `onRowRemoved` is called when such a row
 * leaves with its last edit. `countEdit` is the value of `EditedRowsContext`; `release` drops all edits of a row.
 */
export function useRowsWithOpenEdits(tasks: TaskView[], onRowRemoved: (key: string) => void) {
  const [edits, setEdits] = useState<OpenEdits>(() => new Map())
  const [rendered, setRendered] = useState({ tasks, edits, rows: tasks })
  let rows = rendered.rows
  if (rendered.tasks !== tasks || rendered.edits !== edits) {
    rows = keepEditedRows(tasks, rendered.rows, edits)
    setRendered({ tasks, edits, rows })
  }

  const latest = useRef({ tasks, onRowRemoved })
  useEffect(() => {
    latest.current = { tasks, onRowRemoved }
  })
  const countEdit = useCallback<CountEdit>((key, by) => {
    // The task is not in the list, so the row is removed together with its edit.
    if (by < 0 && !latest.current.tasks.some((task) => task.key === key)) latest.current.onRowRemoved(key)
    setEdits((before) => changeCount(before, key, by))
  }, [])
  const release = useCallback((key: string) => setEdits((before) => withoutKey(before, key)), [])
  return { rows, countEdit, release }
}

/** Re-insert rows with an open edit that are no longer in the list, after their nearest remaining predecessor. */
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
    // Without a predecessor, findIndex returns -1, so the row is inserted at index 0.
    const index = rows.findIndex(({ key }) => key === predecessor) + 1
    rows.splice(index, 0, task.pending ? { ...task, pending: false } : task)
  }
  return rows
}

/** Add `by` to the edits of a row. A closed edit of a row without entry is ignored: the row was released before. */
function changeCount(edits: OpenEdits, key: string, by: 1 | -1): OpenEdits {
  const count = edits.get(key)
  if (count === undefined && by < 0) return edits
  const next = (count ?? 0) + by
  return next > 0 ? new Map(edits).set(key, next) : withoutKey(edits, key)
}

/** Return a copy without the entry of a row. */
function withoutKey(edits: OpenEdits, key: string): OpenEdits {
  if (!edits.has(key)) return edits
  const rest = new Map(edits)
  rest.delete(key)
  return rest
}
