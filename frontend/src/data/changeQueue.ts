import type { QueryClient } from "@tanstack/react-query"
import type { Api } from "@/api/client"
import type { Connection } from "@/api/connection"
import { ApiError, ConflictError } from "@/api/errors"
import { persist } from "@/api/retry"
import { conflicts, differing, heard, type Echo } from "./merge"
import { isKnown, type Change, type Entry, type Names } from "./optimistic"
import { draft, settable, type Task, type TaskCreate, type TaskUpdate } from "./task"

type Services = {
  client: QueryClient
  api: Api
  userId: string
  connection: Connection
  /** Called after each change that the service made. */
  confirmed: () => void
  /** Called when no change is left to be sent; `seen`: whether the page shows all of them as they are now. */
  drained: (seen: boolean) => void
}

/** All changes of a page are sent one after the other, in the order in which they were made. */
const QUEUE = { id: "changes" }

/**
 * The changes made on this page: sent, repeated until the service says yes or no, and kept until all lists know them.
 *
 * The log is replaced and never altered, so React sees that it has changed.
 */
export class Changes {
  #log: readonly Entry[] = []
  #confirmations = 0
  #made = 0
  readonly #listeners = new Set<() => void>()
  /** By the id that this page gave a new task: the one that the service gave, or why it gave none. */
  readonly #given = new Map<number, number>()
  readonly #never = new Map<number, unknown>()
  /** And the way back. */
  readonly #origin = new Map<number, number>()
  readonly #echoes = new Map<number, Echo>()
  readonly #services: Services

  constructor(services: Services) {
    this.#services = services
  }

  readonly names: Names = {
    id: (id) => this.#given.get(id) ?? id,
    key: (id) => String(this.#origin.get(id) ?? id),
  }

  readonly log = (): readonly Entry[] => this.#log
  /** How many are not confirmed yet. */
  readonly unsaved = (): number => this.#log.filter(({ confirmed }) => confirmed === undefined).length
  /** How many confirmations there were; to be read before the service is asked for anything that is to be shown. */
  readonly now = (): number => this.#confirmations

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  add(input: TaskCreate): Promise<Task> {
    const id = -++this.#made
    const change: Change = { kind: "add", id, input, draft: draft(input, id, this.#services.userId) }
    return this.#task(change, async (key) => {
      const { data } = await this.#services.api.POST("/api/{user_id}/tasks", {
        params: { path: { user_id: this.#services.userId }, header: { "Idempotency-Key": key } },
        body: input,
      })
      return data
    })
  }

  /** `seen`: the task as it was when editing began. Rejects with `ConflictError` if this would undo what others did. */
  edit(seen: Task, changes: TaskUpdate, { overwrite = false } = {}): Promise<Task> {
    const members = differing(seen, settable(changes))
    if (Object.keys(members).length === 0) return Promise.resolve(seen)
    const change = { kind: "edit", id: seen.id, seen, members, overwrite } as const
    return this.#task(change, (key) => this.#merge(change, key))
  }

  complete(seen: Task, completed: boolean): Promise<Task> {
    const members = { completed }
    return this.#task({ kind: "complete", id: seen.id, seen, members }, async (key) => {
      const { data } = await this.#services.api.PATCH("/api/{user_id}/tasks/{id}/complete", {
        params: this.#aimed(seen.id, key),
        body: members,
      })
      return data
    })
  }

  async remove(seen: Task): Promise<void> {
    await this.#make({ kind: "delete", id: seen.id, seen }, async (key) => {
      try {
        await this.#services.api.DELETE("/api/{user_id}/tasks/{id}", { params: this.#aimed(seen.id, key) })
      } catch (error) {
        // It is gone already, which is what was wanted.
        if (!(error instanceof ApiError && error.status === 404)) throw error
      }
      return undefined
    })
  }

  restore(seen: Task): Promise<Task> {
    return this.#task({ kind: "restore", id: seen.id, seen }, async (key) => {
      const { data } = await this.#services.api.POST("/api/{user_id}/tasks/{id}/restore", {
        params: this.#aimed(seen.id, key),
      })
      return data
    })
  }

  /** Forget the confirmed changes that everything on the page knows of. */
  forget(known: number): void {
    const kept = this.#log.filter((entry) => !isKnown(entry, known))
    if (kept.length < this.#log.length) this.#replace(kept)
  }

  /** Send an edit to the version that it was made for, or to a later one that differs in other members only. */
  async #merge(change: Extract<Change, { kind: "edit" }>, key: string): Promise<Task | undefined> {
    const { seen, members, overwrite } = change
    const id = this.#known(change.id)
    const own = this.#echoes.get(id)
    // Later than what the person saw may be what this page itself has sent before.
    let current = own && own.answer.version > seen.version ? own.answer : undefined
    for (;;) {
      if (current && !overwrite && conflicts(seen, members, current, own).length > 0)
        throw new ConflictError(current)
      try {
        const { data } = await this.#services.api.PUT("/api/{user_id}/tasks/{id}", {
          params: this.#aimed(id, key, overwrite ? "*" : `"${(current ?? seen).version}"`),
          body: members,
        })
        return data
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error
        current = error.current
      }
    }
  }

  /** `If-Match: *` takes any version, and satisfies a service that insists on the header. */
  #aimed(id: number, key: string, version = "*") {
    return {
      path: { user_id: this.#services.userId, id: this.#known(id) },
      header: { "Idempotency-Key": key, "If-Match": version },
    }
  }

  /** The service's id of a task. Throws what kept the task from being made. */
  #known(id: number): number {
    if (this.#never.has(id)) throw this.#never.get(id)
    return this.names.id(id)
  }

  async #task(change: Change, send: (key: string) => Promise<Task | undefined>): Promise<Task> {
    const task = await this.#make(change, send)
    if (!task) throw new ApiError({ status: 500, code: "empty", detail: "The answer holds no task." })
    return task
  }

  /** Show a change at once, and see it through. */
  #make(change: Change, send: (key: string) => Promise<Task | undefined>): Promise<Task | undefined> {
    // One for all attempts: the service carries them out once.
    const key = idempotencyKey()
    this.#replace([...this.#log, { change }])
    return this.#queued(async () => {
      try {
        const answer = await persist(() => send(key), this.#services.connection)
        this.#confirm(change, answer)
        return answer
      } catch (error) {
        this.#refuse(change, error)
        throw error
      }
    })
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const { client } = this.#services
    const mutation = client.getMutationCache().build<T, Error, void, unknown>(client, {
      mutationFn: work,
      scope: QUEUE,
      // The browser's word for the network is a hint; only an attempt tells.
      networkMode: "always",
    })
    return mutation.execute()
  }

  #confirm(change: Change, answer: Task | undefined): void {
    const confirmed = ++this.#confirmations
    if (answer) {
      if (change.kind === "add") {
        this.#given.set(change.id, answer.id)
        this.#origin.set(answer.id, change.id)
      }
      const sent = "members" in change ? change.members : change.kind === "add" ? settable(change.input) : {}
      this.#echoes.set(answer.id, heard(this.#echoes.get(answer.id), answer, sent))
    }
    this.#settle(
      this.#log.map((entry) => (entry.change === change ? { change, confirmed, answer } : entry)),
      true,
    )
  }

  #refuse(change: Change, error: unknown): void {
    if (change.kind === "add") this.#never.set(change.id, error)
    this.#settle(
      this.#log.filter((entry) => entry.change !== change),
      false,
    )
  }

  #settle(log: readonly Entry[], confirmed: boolean): void {
    this.#replace(log)
    if (confirmed) this.#services.confirmed()
    if (this.unsaved() === 0) this.#services.drained(confirmed)
  }

  #replace(log: readonly Entry[]): void {
    this.#log = log
    this.#listeners.forEach((listener) => listener())
  }
}

/** 128 bits. Not `crypto.randomUUID`, which browsers withhold from pages that came over plain HTTP. */
function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-")
}
