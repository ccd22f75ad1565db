"use client"

import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { useEffect, useMemo, useState, useSyncExternalStore } from "react"
import { useServices } from "./ServicesProvider"
import type { Reach } from "@/api/connection"
import { endSession } from "./services"
import type { Changes } from "./changeQueue"
import { told } from "./listQuery"
import { openBeyond, shown, type Entry } from "./optimistic"
import type { Filters, Task, TaskCreate, TaskUpdate, TaskView } from "./task"

export type { Filters, Task, TaskCreate, TaskUpdate, TaskView }

export type TaskList = {
  tasks: TaskView[]
  status: "loading" | "ready" | "error"
  error: unknown
  hasMore: boolean
  loadingMore: boolean
  loadMore(): void
  retry(): void
}

/** Milliseconds without another letter after which a search is sent. */
const TYPING = 250
const NOTHING: readonly Entry[] = []
const NO_TASKS: TaskView[] = []

/** The tasks to show, with all changes made here on top; kept in step with the service for as long as it is in use. */
export function useTasks({ show, search, sort }: Filters): TaskList {
  const { tasks } = useServices()
  const log = useLog()
  const typed = useSettled(search, TYPING)
  const list = useInfiniteQuery(tasks.list({ show, search: typed, sort }))
  useQuery({ ...tasks.pulse.options, refetchInterval: tasks.pulse.interval })

  const { data } = list
  const view = useMemo(
    () => (data ? shown(told(data), log, tasks.changes.names) : NO_TASKS),
    [data, log, tasks.changes.names],
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

/** How many tasks are open, whatever the list shows. */
export function useOpenCount(): number | undefined {
  const { tasks } = useServices()
  const log = useLog()
  const { data } = useQuery(tasks.pulse.options)
  return data && data.open + openBeyond(data.asOf, log)
}

/** These and the following show at once; they reject with `ApiError` once it is undone because the service refused. */
export function useAddTask(): (input: TaskCreate) => Promise<Task> {
  const changes = useChanges()
  return (input) => changes.add(input)
}

/** `task`: what the person saw when editing began. Rejects with `ConflictError` if others changed the same. */
export function useEditTask(): (
  task: Task,
  changes: TaskUpdate,
  options?: { overwrite?: boolean },
) => Promise<Task> {
  const changes = useChanges()
  return (task, update, options) => changes.edit(task, update, options)
}

export function useCompleteTask(): (task: Task, completed: boolean) => Promise<Task> {
  const changes = useChanges()
  return (task, completed) => changes.complete(task, completed)
}

export function useDeleteTask(): (task: Task) => Promise<void> {
  const changes = useChanges()
  return (task) => changes.remove(task)
}

export function useRestoreTask(): (task: Task) => Promise<Task> {
  const changes = useChanges()
  return (task) => changes.restore(task)
}

/** Whether the services can be asked, and if not, what is in the way. */
export function useConnection(): Reach {
  const { connection } = useServices()
  return useSyncExternalStore(connection.subscribe, connection.reach, () => "online")
}

/** How much would be lost with this page: changes that are not confirmed yet, and drafts. */
export function useUnsavedChanges(): number {
  const { unsaved } = useServices()
  return useSyncExternalStore(unsaved.subscribe, unsaved.count, () => 0)
}

/** `open`: whether something is typed that is not handed over yet. For that long it counts as unsaved. */
export function useDraft(open: boolean): void {
  const { unsaved } = useServices()
  useEffect(() => (open ? unsaved.draft() : undefined), [open, unsaved])
}

/** To be called when the person has signed out: nothing is kept, and the other tabs look whether it is so. */
export function useEndSession(): () => void {
  const services = useServices()
  return () => endSession(services)
}

function useChanges(): Changes {
  return useServices().tasks.changes
}

function useLog(): readonly Entry[] {
  const changes = useChanges()
  return useSyncExternalStore(changes.subscribe, changes.log, () => NOTHING)
}

/** A value that has not changed for a while. */
function useSettled<T>(value: T, milliseconds: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds)
    return () => clearTimeout(timer)
  }, [value, milliseconds])
  return settled
}
