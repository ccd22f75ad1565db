import { ApiError, ConflictError } from "@/api/errors"
import { retryUntilAnswered } from "@/api/retry"
import type { ApiContext } from "./apiContext"
import { changedMembers, findConflicts, recordWrite, type OwnWrites } from "./merge"
import { isIncluded, type Change, type IdMap, type LogEntry } from "./optimistic"
import { createDraft, normalizeMembers, type Task, type TaskCreate, type TaskUpdate } from "./task"
import { browserTimeZone } from "./timeZone"

type Services = ApiContext & {
  /** Called after each change that the API has confirmed. */
  onConfirmed: () => void
  /** Called when no unconfirmed change is left; `lastConfirmed`: the last one was confirmed, not rejected. */
  onDrained: (lastConfirmed: boolean) => void
}

/** TanStack mutation scope: mutations of one scope run one after the other, in the order in which they were made. */
const SCOPE = { id: "changes" }

/**
 * Queue and log of the changes made on this page. Each change is shown immediately, sent in order, repeated until the API
 * confirms or rejects it, and kept in the log until all lists include it.
 *
 * The log is immutable and replaced on each change, so that `useSyncExternalStore` detects it.
 */
export class ChangeQueue {
  #log: readonly LogEntry[] = []
  #confirmations = 0
  #draftCount = 0
  readonly #listeners = new Set<() => void>()
  /** Id of the server, by draft id. */
  readonly #serverIds = new Map<number, number>()
  /** Error of the add that the API rejected, by draft id. */
  readonly #failedDrafts = new Map<number, unknown>()
  /** Draft id, by id of the server. */
  readonly #draftIds = new Map<number, number>()
  /** By id of the server. */
  readonly #ownWrites = new Map<number, OwnWrites>()
  readonly #services: Services

  constructor(services: Services) {
    this.#services = services
  }

  readonly ids: IdMap = {
    serverId: (id) => this.#serverIds.get(id) ?? id,
    rowKey: (id) => String(this.#draftIds.get(id) ?? id),
  }

  /** Return the change log: an immutable array, replaced on each change. */
  readonly log = (): readonly LogEntry[] => this.#log
  /** Return the number of changes that the API has not confirmed yet. */
  readonly unconfirmedCount = (): number =>
    this.#log.filter(({ confirmed }) => confirmed === undefined).length
  /** Return the number of confirmed changes so far. Read it before a request is sent: it becomes the response's `asOf`. */
  readonly confirmationCount = (): number => this.#confirmations

  /** Call `listener` whenever the log is replaced, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Add a task, which gets a negative draft id until the API has created it. */
  add(input: TaskCreate): Promise<Task> {
    const id = -++this.#draftCount
    const change: Change = { kind: "add", id, input, draft: createDraft(input, id, this.#services.userId) }
    return this.#submitForTask(change, async (key) => {
      const { data } = await this.#services.api.POST("/api/{user_id}/tasks", {
        params: { path: { user_id: this.#services.userId }, header: { "Idempotency-Key": key } },
        body: input,
      })
      return data
    })
  }

  /**
   * Edit a task; no request if nothing differs. `base`: the task as it was when the edit began. Rejects with
   * `ConflictError` if another client has changed the same members since, unless `overwrite` is set.
   */
  edit(base: Task, changes: TaskUpdate, { overwrite = false } = {}): Promise<Task> {
    const members = changedMembers(base, normalizeMembers(changes))
    if (Object.keys(members).length === 0) return Promise.resolve(base)
    const change = { kind: "edit", id: base.id, base, members, overwrite } as const
    return this.#submitForTask(change, (key) => this.#sendEdit(change, key))
  }

  /** Set `completed` of a task. The next task of a recurring one is counted by the browser's time zone of this moment. */
  complete(base: Task, completed: boolean): Promise<Task> {
    const members = { completed }
    const zone = browserTimeZone()
    return this.#submitForTask({ kind: "complete", id: base.id, base, members }, async (key) => {
      const send = (query: { tz?: string }) =>
        this.#services.api.PATCH("/api/{user_id}/tasks/{id}/complete", {
          params: { ...this.#taskParams(base.id, key), query },
          body: members,
        })
      try {
        return (await send(zone ? { tz: zone } : {})).data
      } catch (error) {
        // The browser may know a time zone that the API does not know yet: complete the task without it.
        if (!(error instanceof ApiError && error.status === 400 && error.fields.tz)) throw error
        return (await send({})).data
      }
    })
  }

  /** Move a task to the trash. */
  async remove(base: Task): Promise<void> {
    await this.#submit({ kind: "delete", id: base.id, base }, async (key) => {
      try {
        await this.#services.api.DELETE("/api/{user_id}/tasks/{id}", {
          params: this.#taskParams(base.id, key),
        })
      } catch (error) {
        // 404: another client has deleted the task already.
        if (!(error instanceof ApiError && error.status === 404)) throw error
      }
      return undefined
    })
  }

  /** Restore a task from the trash. */
  restore(base: Task): Promise<Task> {
    return this.#submitForTask({ kind: "restore", id: base.id, base }, async (key) => {
      const { data } = await this.#services.api.POST("/api/{user_id}/tasks/{id}/restore", {
        params: this.#taskParams(base.id, key),
      })
      return data
    })
  }

  /** Remove the changes from the log that all lists include, that is, with `confirmed <= asOf`. */
  prune(asOf: number): void {
    const kept = this.#log.filter((entry) => !isIncluded(entry, asOf))
    if (kept.length < this.#log.length) this.#replace(kept)
  }

  /**
   * Send an edit with `If-Match`: the version of `base`, and after a 412 the current version, as long as only other members
   * differ. Throws `ConflictError` otherwise.
   */
  async #sendEdit(change: Extract<Change, { kind: "edit" }>, key: string): Promise<Task | undefined> {
    const { base, members, overwrite } = change
    const id = this.#resolveId(change.id)
    const ownWrites = this.#ownWrites.get(id)
    // A version later than `base` may be the result of an earlier change of this page.
    let current = ownWrites && ownWrites.latest.version > base.version ? ownWrites.latest : undefined
    for (;;) {
      if (current && !overwrite && findConflicts(base, members, current, ownWrites).length > 0)
        throw new ConflictError(current)
      try {
        const { data } = await this.#services.api.PUT("/api/{user_id}/tasks/{id}", {
          params: this.#taskParams(id, key, overwrite ? "*" : `"${(current ?? base).version}"`),
          body: members,
        })
        return data
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error
        current = error.current
      }
    }
  }

  /** Return path and headers of a write. `If-Match: *` matches any version; an API with REQUIRE_IF_MATCH demands it. */
  #taskParams(id: number, key: string, version = "*") {
    return {
      path: { user_id: this.#services.userId, id: this.#resolveId(id) },
      header: { "Idempotency-Key": key, "If-Match": version },
    }
  }

  /** Return the server's id of a task; throws the error of the add if the API rejected it. */
  #resolveId(id: number): number {
    if (this.#failedDrafts.has(id)) throw this.#failedDrafts.get(id)
    return this.ids.serverId(id)
  }

  /** Submit a change whose response must contain the task. */
  async #submitForTask(change: Change, send: (key: string) => Promise<Task | undefined>): Promise<Task> {
    const task = await this.#submit(change, send)
    if (!task) throw new ApiError({ status: 500, code: "empty", detail: "The response contains no task." })
    return task
  }

  /** Append a change to the log and send it until the API confirms or rejects it. */
  #submit(change: Change, send: (key: string) => Promise<Task | undefined>): Promise<Task | undefined> {
    // The same key for all attempts, so that the API executes the change once.
    const key = idempotencyKey()
    this.#replace([...this.#log, { change }])
    return this.#enqueue(async () => {
      try {
        const result = await retryUntilAnswered(() => send(key), this.#services.connection)
        this.#confirm(change, result)
        return result
      } catch (error) {
        this.#reject(change, error)
        throw error
      }
    })
  }

  /** Run `work` after all changes before it. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const { client } = this.#services
    const mutation = client.getMutationCache().build<T, Error, void, unknown>(client, {
      mutationFn: work,
      scope: SCOPE,
      // Send even if `navigator.onLine` is false: it is unreliable.
      networkMode: "always",
    })
    return mutation.execute()
  }

  /** Record the response to a change in the log. */
  #confirm(change: Change, result: Task | undefined): void {
    const confirmed = ++this.#confirmations
    if (result) {
      if (change.kind === "add") {
        this.#serverIds.set(change.id, result.id)
        this.#draftIds.set(result.id, change.id)
      }
      const sent =
        "members" in change ? change.members : change.kind === "add" ? normalizeMembers(change.input) : {}
      this.#ownWrites.set(result.id, recordWrite(this.#ownWrites.get(result.id), result, sent))
    }
    this.#finish(
      this.#log.map((entry) => (entry.change === change ? { change, confirmed, result } : entry)),
      true,
    )
  }

  /** Remove a rejected change from the log, which undoes it on the page. */
  #reject(change: Change, error: unknown): void {
    if (change.kind === "add") this.#failedDrafts.set(change.id, error)
    this.#finish(
      this.#log.filter((entry) => entry.change !== change),
      false,
    )
  }

  /** Replace the log after a change was confirmed or rejected, and call the callbacks. */
  #finish(log: readonly LogEntry[], confirmed: boolean): void {
    this.#replace(log)
    if (confirmed) this.#services.onConfirmed()
    if (this.unconfirmedCount() === 0) this.#services.onDrained(confirmed)
  }

  /** Replace the log and notify the listeners. */
  #replace(log: readonly LogEntry[]): void {
    this.#log = log
    this.#listeners.forEach((listener) => listener())
  }
}

/** Return a random key of 128 bits. Browsers offer `crypto.randomUUID` on HTTPS and localhost only. */
function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-")
}
