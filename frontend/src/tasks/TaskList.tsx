"use client"

import { Button } from "@radix-ui/themes/components/button"
import { Skeleton } from "@radix-ui/themes/components/skeleton"
import { Text } from "@radix-ui/themes/components/text"
import { useCallback, useEffect, useRef, type RefObject } from "react"
import { userMessage } from "@/api/errors"
import {
  useCompleteTask,
  useDeleteTask,
  useRestoreTask,
  useTasks,
  type Filters,
  type Task,
  type TaskView,
} from "@/data/hooks"
import { useAnnounce } from "@/feedback/Announcer"
import { useReportProblem } from "@/feedback/Problems"
import { useToast } from "@/feedback/Toasts"
import { ErrorCallout } from "@/form/ErrorCallout"
import { EditedRowsContext, useRowsWithOpenEdits } from "./editedRows"
import { hasActiveFilter } from "./filterUrl"
import { useListFocus, type ListFocus } from "./listFocus"
import styles from "./TaskList.module.css"
import { TaskRow } from "./TaskRow"

type TaskListProps = { filters: Filters; addInput: RefObject<HTMLElement | null> }

/** The list of tasks with its loading, error and empty states. `addInput` gets the focus when the last row is removed. */
export function TaskList({ filters, addInput }: TaskListProps) {
  const { tasks, status, error, hasMore, loadingMore, loadMore, retry } = useTasks(filters)
  const list = useRef<HTMLUListElement>(null)
  const focusRef = useRef<ListFocus>(null)
  const { rows, countEdit, release } = useRowsWithOpenEdits(tasks, (key) =>
    focusRef.current?.rowWillLeave(key, "title"),
  )
  const focus = useListFocus(rows, list, addInput)
  useEffect(() => {
    focusRef.current = focus
  }, [focus])
  const { complete, remove } = useRowActions(focus, release)
  const loadMoreRef = useLoadMoreOnScroll(hasMore && !loadingMore, tasks.length, loadMore)

  if (status === "loading" && rows.length === 0) return <LoadingRows />
  // The <ul> is the same element in all states, so that a row with an open edit is not unmounted.
  return (
    <EditedRowsContext value={countEdit}>
      {status === "error" && (
        <div className={styles.loadError}>
          <ErrorCallout>{userMessage(error)}</ErrorCallout>
          <Button size="3" variant="soft" onClick={retry}>
            Try again
          </Button>
        </div>
      )}
      {(status !== "error" || rows.length > 0) && (
        <ul
          ref={list}
          role="list"
          aria-label="Tasks"
          className={styles.list}
          data-empty={rows.length ? undefined : ""}
        >
          {rows.map((task) => (
            <TaskRow key={task.key} task={task} onComplete={complete} onDelete={remove} />
          ))}
        </ul>
      )}
      {status === "ready" && rows.length === 0 && <EmptyState filtered={hasActiveFilter(filters)} />}
      {status === "ready" && hasMore && (
        <div ref={loadMoreRef} className={styles.loadMore}>
          <Button size="3" variant="soft" color="gray" loading={loadingMore} onClick={loadMore}>
            Show more
          </Button>
        </div>
      )}
    </EditedRowsContext>
  )
}

/** Return the callbacks of a row. They are stable, so that the memoized rows re-render only when their task changes. */
function useRowActions(focus: ListFocus, release: (key: string) => void) {
  const completeTask = useCompleteTask()
  const deleteTask = useDeleteTask()
  const restoreTask = useRestoreTask()
  const announce = useAnnounce()
  const toast = useToast()
  const report = useReportProblem()

  async function complete(task: TaskView, completed: boolean) {
    focus.rowWillLeave(task.key, "check") // a list of open or of completed tasks loses the row
    try {
      await completeTask(task, completed)
      announce(completed ? "Task completed." : "Task open again.")
    } catch (error) {
      const what = completed ? "was not completed" : "was not opened again"
      report(`“${task.title}” ${what}.`, error, () => void complete(task, completed))
    }
  }

  async function restore(task: Task) {
    focus.rowWillAppear(task.id)
    try {
      await restoreTask(task)
      announce("Task restored.")
    } catch (error) {
      report(`“${task.title}” was not brought back.`, error, () => void restore(task))
    }
  }

  async function remove(task: TaskView) {
    focus.rowWillLeave(task.key, "title")
    release(task.key) // a deleted task leaves the list even if an edit is open in its row
    toast({ text: `Deleted “${task.title}”`, action: "Undo", onAction: () => void restore(task) })
    try {
      await deleteTask(task)
    } catch (error) {
      report(`“${task.title}” was not deleted.`, error, () => void remove(task))
    }
  }

  const latest = useRef({ complete, remove })
  useEffect(() => {
    latest.current = { complete, remove }
  })
  return {
    complete: useCallback(
      (task: TaskView, completed: boolean) => void latest.current.complete(task, completed),
      [],
    ),
    remove: useCallback((task: TaskView) => void latest.current.remove(task), []),
  }
}

/**
 * Call `onReached` when the returned ref's element is within 600 px of the viewport, once for each `length`, so that a
 * failed load is not repeated in a loop; the button "Show more" repeats it.
 */
function useLoadMoreOnScroll(active: boolean, length: number, onReached: () => void) {
  const sentinel = useRef<HTMLDivElement>(null)
  const triedLength = useRef(-1)
  useEffect(() => {
    const element = sentinel.current
    if (!active || !element || triedLength.current === length) return
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry?.isIntersecting || triedLength.current === length) return
        triedLength.current = length
        onReached()
      },
      { rootMargin: "600px" },
    )
    observer.observe(element)
    return () => observer.disconnect()
  }, [active, length, onReached])
  return sentinel
}

/** Text in place of an empty list. `filtered`: filters or a search are active. */
function EmptyState({ filtered }: { filtered: boolean }) {
  return (
    <div className={styles.emptyState}>
      <Text as="p" size="4" weight="medium">
        {filtered ? "No task matches" : "Nothing to do yet"}
      </Text>
      <Text as="p" size="2" color="gray">
        {filtered ? "Try other words, or show all tasks." : "Write down the first thing that comes to mind."}
      </Text>
    </div>
  )
}

/** Skeleton rows of different widths, until the first page has loaded. */
function LoadingRows() {
  return (
    <div aria-busy="true">
      <p className="visually-hidden">Loading your tasks</p>
      <div className={styles.list} aria-hidden="true">
        {[62, 40, 75, 52, 33, 58].map((width) => (
          <div key={width} className={styles.row}>
            <Skeleton className={styles.skeletonBox} />
            <div className={styles.body}>
              <Skeleton className={styles.skeletonText} style={{ width: `${width}%` }} />
            </div>
          </div>
        ))}
      </div>
    </div>
  )
}
