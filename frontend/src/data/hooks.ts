"use client"

import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { useEffect, useMemo, useState, useSyncExternalStore } from "react"
import type { ConnectionState } from "@/api/connection"
import type { ChangeQueue } from "./changeQueue"
import { mergePages } from "./listQuery"
import { applyChanges, openCountDelta, type LogEntry } from "./optimistic"
import { endSession } from "./services"
import { useServices } from "./ServicesProvider"
import type { Filters, Task, TaskCreate, TaskUpdate, TaskView } from "./task"

export type { Filters, Task, TaskCreate, TaskUpdate, TaskView }

export type TaskListState = {
  tasks: TaskView[]
  status: "loading" | "ready" | "error"
  error: unknown
  hasMore: boolean
  loadingMore: boolean
  loadMore(): void
  retry(): void
}

/** Milliseconds after the last key stroke until a search is sent. */
const SEARCH_DEBOUNCE = 250
const NO_ENTRIES: readonly LogEntry[] = []
const NO_TASKS: TaskView[] = []

/** Return the tasks of a list with all optimistic changes applied, and poll the API for changes of other clients. */
export function useTasks({ show, search, sort }: Filters): TaskListState {
  const { tasks } = useServices()
  const log = useChangeLog()
  const debouncedSearch = useDebounced(search, SEARCH_DEBOUNCE)
  const list = useInfiniteQuery(tasks.list({ show, search: debouncedSearch, sort }))
  useQuery({ ...tasks.poller.options, refetchInterval: tasks.poller.interval })

  const { data } = list
  const view = useMemo(
    () => (data ? applyChanges(mergePages(data), log, tasks.changes.ids) : NO_TASKS),
    [data, log, tasks.changes.ids],
  )
  return {
    tasks: view,
    status: data ? "ready" : list.error ? "error" : "loading",
    error: list.error,
    hasMore: list.hasNextPage,
    loadingMore: list.isFetchingNextPage,
    loadMore: () => void list.fetchNextPage({ cancelRefetch: false }),
    retry: () => void list.refetch(),
  }
}

/** Return the number of the user's open tasks, independent of filters; undefined until it has been read. */
export function useOpenCount(): number | undefined {
  const { tasks } = useServices()
  const log = useChangeLog()
  const { data } = useQuery(tasks.poller.options)
  return data && data.openCount + openCountDelta(data.asOf, log)
}

/**
 * Return a function that adds a task. Like the functions of the hooks below, it shows the change immediately, and its
 * promise rejects with `ApiError` after the change was undone because the API rejected it.
 */
export function useAddTask(): (input: TaskCreate) => Promise<Task> {
  const changes = useChanges()
  return (input) => changes.add(input)
}

/**
 * Return a function that edits a task. `task`: the task as the user saw it when the edit began. Rejects with
 * `ConflictError` if another client has changed the same members since, unless `overwrite` is set.
 */
export function useEditTask(): (
  task: Task,
  changes: TaskUpdate,
  options?: { overwrite?: boolean },
) => Promise<Task> {
  const changes = useChanges()
  return (task, update, options) => changes.edit(task, update, options)
}

/** Return a function that sets `completed` of a task; see `useAddTask`. */
export function useCompleteTask(): (task: Task, completed: boolean) => Promise<Task> {
  const changes = useChanges()
  return (task, completed) => changes.complete(task, completed)
}

/** Return a function that moves a task to the trash; see `useAddTask`. */
export function useDeleteTask(): (task: Task) => Promise<void> {
  const changes = useChanges()
  return (task) => changes.remove(task)
}

/** Return a function that restores a task from the trash; see `useAddTask`. */
export function useRestoreTask(): (task: Task) => Promise<Task> {
  const changes = useChanges()
  return (task) => changes.restore(task)
}

/** Return the current connection state, and re-render when it changes. */
export function useConnectionState(): ConnectionState {
  const { connection } = useServices()
  return useSyncExternalStore(connection.subscribe, connection.state, () => "online")
}

/** Return the number of unconfirmed changes and open drafts, which a reload of the page would lose. */
export function useUnsavedChanges(): number {
  const { unsaved } = useServices()
  return useSyncExternalStore(unsaved.subscribe, unsaved.count, () => 0)
}

/** Count the component's draft as unsaved work while `open`: the user has typed text that was not submitted yet. */
export function useUnsavedDraft(open: boolean): void {
  const { unsaved } = useServices()
  useEffect(() => (open ? unsaved.openDraft() : undefined), [open, unsaved])
}

/** Return a function to call after a sign-out: it discards all data and makes the other tabs check their session. */
export function useEndSession(): () => void {
  const services = useServices()
  return () => endSession(services)
}

/** Return the change queue of the signed-in user. */
function useChanges(): ChangeQueue {
  return useServices().tasks.changes
}

/** Return the change log, and re-render when it changes. */
function useChangeLog(): readonly LogEntry[] {
  const changes = useChanges()
  return useSyncExternalStore(changes.subscribe, changes.log, () => NO_ENTRIES)
}

/** Return the last value that stayed the same for `milliseconds`. */
function useDebounced<T>(value: T, milliseconds: number): T {
  const [debounced, setDebounced] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setDebounced(value), milliseconds)
    return () => clearTimeout(timer)
  }, [value, milliseconds])
  return debounced
}
