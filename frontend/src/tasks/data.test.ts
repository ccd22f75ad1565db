import { environmentManager, QueryObserver } from "@tanstack/react-query"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { ApiError, ConflictError } from "@/api/problem"
import { TaskService, type Seen } from "@/api/service.fixture"
import { ALL, OpenPage, settled } from "./page.fixture"
import type { Filters, TaskView } from "./task"

const service = new TaskService()
let page: OpenPage

beforeAll(() => service.start(), 40_000)
afterAll(() => service.stop())
beforeEach(async () => {
  page = await OpenPage.open(service.port)
})
afterEach(() => page.close())

const OPEN: Filters = { ...ALL, show: "open" }
const DONE: Filters = { ...ALL, show: "done" }

function first(filters: Filters = ALL): TaskView {
  const [task] = page.view(filters)
  if (!task) throw new Error("The list is empty.")
  return task
}

function problem(status: number, code: string, headers: Record<string, string> = {}) {
  return { status, headers, body: { status, code, detail: "For programmers.", request_id: "r" } }
}

/** Interfere with the next changes, one after the other; then let everything pass. */
function interfere(...answers: Awaited<ReturnType<typeof page.gateway.intercept>>[]): void {
  page.gateway.intercept = ({ method }: Seen) => (method === "GET" ? undefined : answers.shift())
}

test("a new task shows at once, under its key for ever, and the service has it once", async () => {
  await page.show()
  const made = page.changes.add({ title: "  Buy milk " })
  const draft = first()
  expect(draft).toMatchObject({ title: "Buy milk", pending: true, completed: false })
  expect(draft.id).toBeLessThan(0)
  expect(page.openCount()).toBe(1)
  const task = await made
  expect(first()).toEqual({ ...task, pending: false, key: draft.key })
  await settled(() => page.changes.log().length === 0)
  expect(first()).toEqual({ ...task, pending: false, key: draft.key })
  expect(page.openCount()).toBe(1)
  expect(page.announced).toBe(1)
})

test("a lost answer, 503, 429, a key in flight and a stopped service make one task and one key", async () => {
  await page.show()
  interfere(
    "lose",
    problem(503, "unavailable"),
    problem(429, "too-many-requests", { "Retry-After": "1" }),
    problem(409, "in-flight", { "Retry-After": "1" }),
  )
  const begun = Date.now()
  await page.changes.add({ title: "Once" })
  expect(Date.now() - begun).toBeGreaterThan(2_000)
  const sent = page.gateway.changes()
  expect(sent).toHaveLength(5)
  expect(new Set(sent.map(({ headers }) => headers["idempotency-key"])).size).toBe(1)
  expect(sent.at(-1)).toMatchObject({ status: 201 })
  expect((await page.stored()).map(({ title }) => title)).toEqual(["Once"])
}, 15_000)

test("changes made while the service is stopped are kept, shown, and sent in their order", async () => {
  const kept = await page.changes.add({ title: "Kept" })
  await page.show()
  await page.gateway.stop()
  const all = Promise.all([
    page.changes.complete(kept, true),
    page.changes.add({ title: "First" }),
    page.changes.add({ title: "Second" }),
  ])
  const draft = page.view()[0] as TaskView
  const edit = page.changes.edit(draft, { title: "Second, mended", priority: "high" })
  const gone = page.changes.add({ title: "Gone" })
  const removed = page.changes.remove(first())
  expect(page.titles()).toEqual(["Second, mended", "First", "Kept"])
  expect(page.view().map(({ completed }) => completed)).toEqual([false, false, true])
  expect(page.changes.unsaved()).toBe(6)
  expect(page.openCount()).toBe(2)
  await settled(() => page.connection.reach() === "away")
  await page.gateway.start()
  await Promise.all([all, edit, gone, removed])
  expect(page.changes.unsaved()).toBe(0)
  expect(page.connection.reach()).toBe("online")
  expect((await page.stored()).map(({ title, priority }) => [title, priority])).toEqual([
    ["Second, mended", "high"],
    ["First", "none"],
    ["Kept", "none"],
  ])
  const methods = page.gateway.changes().map(({ method }) => method)
  expect(methods).toEqual(["POST", "PATCH", "POST", "POST", "PUT", "POST", "DELETE"])
  expect(page.titles()).toEqual(["Second, mended", "First", "Kept"])
})

test("what the service refuses is undone exactly, and the member that is wrong is named", async () => {
  const task = await page.changes.add({ title: "Good", tags: ["a"] })
  await page.show()
  const before = page.view()
  const refused = page.changes.edit(task, { title: "x".repeat(201), tags: ["b"] })
  expect(first()).toMatchObject({ tags: ["b"], pending: true })
  const error = await refused.catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ status: 422, fields: { title: expect.stringContaining("200 characters") } })
  expect(page.view()).toEqual(before)
})

test("a task that could not be made takes what was changed of it along, and nothing else", async () => {
  await page.show()
  const refused = page.changes.add({ title: "x".repeat(201) })
  const [draft] = page.view()
  const completed = page.changes.complete(draft as TaskView, true)
  const other = page.changes.add({ title: "Another" })
  await expect(refused).rejects.toMatchObject({ status: 422 })
  await expect(completed).rejects.toMatchObject({ status: 422 })
  await other
  expect(page.titles()).toEqual(["Another"])
  expect(page.openCount()).toBe(1)
})

test("a completed task keeps its tick for a moment, then leaves the open ones", async () => {
  const task = await page.changes.add({ title: "Do it" })
  await page.show(OPEN)
  await page.show(DONE)
  await page.changes.complete(task, true)
  expect(first(OPEN)).toMatchObject({ completed: true, pending: false })
  expect(page.titles(DONE)).toEqual(["Do it"])
  expect(page.openCount()).toBe(0)
  await settled(() => page.titles(OPEN).length === 0)
  expect(page.titles(DONE)).toEqual(["Do it"])
  expect(page.openCount()).toBe(0)
})

test("a deleted task comes back in its place", async () => {
  await page.changes.add({ title: "Old" })
  const task = await page.changes.add({ title: "Middle" })
  await page.changes.add({ title: "New" })
  await page.show()
  await page.changes.remove(task)
  expect(page.titles()).toEqual(["New", "Old"])
  expect(page.openCount()).toBe(2)
  const restored = page.changes.restore(task)
  expect(page.titles()).toEqual(["New", "Middle", "Old"])
  expect(await restored).toMatchObject({ id: task.id, deleted_at: null })
  expect(page.openCount()).toBe(3)
  await settled(() => page.changes.log().length === 0)
  expect(page.titles()).toEqual(["New", "Middle", "Old"])
})

test("to delete what somebody else has deleted is no error", async () => {
  const task = await page.changes.add({ title: "Twice" })
  await page.changes.remove(task)
  await expect(page.changes.remove(task)).resolves.toBeUndefined()
})

test("an edit is merged with what others changed elsewhere in the task", async () => {
  const seen = await page.changes.add({ title: "Title", description: "Text" })
  const other = await page.another(service.port)
  await other.changes.edit(seen, { description: "Text of somebody else" })
  await other.close()
  const edited = await page.changes.edit(seen, { title: "My title", description: "Text" })
  expect(edited).toMatchObject({ title: "My title", description: "Text of somebody else" })
  const puts = page.gateway.changes().filter(({ method }) => method === "PUT")
  expect(puts.map(({ status }) => status)).toEqual([412, 200])
})

test("an edit of what others changed too is refused with what is there, and can be forced", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.another(service.port)
  await other.changes.edit(seen, { title: "Their title" })
  await page.show()
  const error = await page.changes.edit(seen, { title: "My title" }).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConflictError)
  expect((error as ConflictError).current).toMatchObject({ title: "Their title" })
  expect(page.titles()).toEqual(["Their title"])
  await other.close()
  await page.changes.edit(seen, { title: "My title" }, { overwrite: true })
  expect((await page.stored())[0]).toMatchObject({ title: "My title" })
})

test("both wanted the same: nobody is asked", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.another(service.port)
  await other.changes.edit(seen, { title: "Agreed" })
  await other.close()
  await expect(page.changes.edit(seen, { title: "Agreed" })).resolves.toMatchObject({ title: "Agreed" })
})

test("one's own earlier changes are no conflict, in whatever words the service keeps them", async () => {
  await page.show()
  const made = page.changes.add({ title: "Rent", due_date: "2099-01-31" })
  const rule = page.changes.edit(first(), { recurrence: "BYMONTHDAY=-1;FREQ=MONTHLY" })
  const seen = first()
  const rest = [
    page.changes.complete(seen, true),
    page.changes.complete(first(), false),
    page.changes.edit(first(), { title: "Pay the rent" }),
    page.changes.edit(seen, { recurrence: "FREQ=WEEKLY" }),
  ]
  await Promise.all([made, rule, ...rest])
  expect((await page.stored())[0]).toMatchObject({ title: "Pay the rent", recurrence: "FREQ=WEEKLY" })
})

test("one's own earlier change does not hide what somebody else did before it", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.another(service.port)
  await other.changes.edit(seen, { title: "Their title" })
  await other.close()
  await page.changes.complete(seen, true)
  await expect(page.changes.edit(seen, { title: "My title" })).rejects.toBeInstanceOf(ConflictError)
})

test("an edit that changes nothing is not sent", async () => {
  const seen = await page.changes.add({ title: "Same", tags: ["a"] })
  const before = page.gateway.changes().length
  expect(await page.changes.edit(seen, { title: " Same ", tags: ["a"], priority: null })).toBe(seen)
  expect(page.gateway.changes()).toHaveLength(before)
})

test("a change that is kept back is not undone by a list that does not know it", async () => {
  const task = await page.changes.add({ title: "Before" })
  await page.show()
  let release = (): void => undefined
  page.gateway.intercept = ({ method }) =>
    method === "PUT" ? new Promise((pass) => (release = () => pass(undefined))) : undefined
  const edit = page.changes.edit(task, { title: "After" })
  await page.client.refetchQueries()
  expect(page.titles()).toEqual(["After"])
  await settled(() => page.gateway.changes().some(({ method }) => method === "PUT"))
  release()
  await edit
  expect(page.titles()).toEqual(["After"])
})

test("an answer that was under way while a change was made is corrected by it", async () => {
  const task = await page.changes.add({ title: "Before" })
  await page.show()
  // The list is read before the change and arrives after it.
  let release = (): void => undefined
  const late = await page.stored()
  page.gateway.intercept = ({ method, url }) =>
    method === "GET" && url.includes("limit=100")
      ? new Promise(
          (arrive) => (release = () => arrive({ status: 200, body: late, headers: { ETag: '"1.x"' } })),
        )
      : undefined
  const reading = page.client.refetchQueries({ queryKey: ["tasks"] })
  await settled(() => page.gateway.seen.some(({ url, status }) => url.includes("limit=100") && status === 0))
  await page.changes.edit(task, { title: "After" })
  release()
  await reading
  expect(page.titles()).toEqual(["After"])
})

test("what others do is found by looking, and lists are left alone while nothing happens", async () => {
  await page.show()
  const other = await page.another(service.port)
  await other.changes.add({ title: "From elsewhere" })
  await other.close()
  await page.data.pulse.look()
  await settled(() => page.titles().length === 1)
  expect(page.openCount()).toBe(1)
  const before = page.gateway.seen.length
  await page.data.pulse.look()
  await page.data.pulse.look()
  const looked = page.gateway.seen.slice(before)
  expect(looked.map(({ url, status }) => [url.includes("limit=1&"), status])).toEqual([
    [true, 304],
    [true, 304],
  ])
})

test("once the service is back, it is noticed within three seconds", async () => {
  // Without a window TanStack takes itself to be on a server, where nothing is done at intervals.
  environmentManager.setIsServer(() => false)
  const watching = new QueryObserver(page.client, {
    ...page.data.pulse.options,
    refetchInterval: page.data.pulse.interval,
  }).subscribe(() => undefined)
  await settled(() => !Number.isNaN(page.openCount()))
  await page.gateway.stop()
  await settled(() => page.connection.reach() === "away")
  await page.gateway.start()
  await settled(() => page.connection.reach() === "online", 3_000)
  watching()
})

test("lists are not told anew while a change is under way", async () => {
  const task = await page.changes.add({ title: "Mine" })
  await page.show()
  const other = await page.another(service.port)
  await other.changes.add({ title: "Theirs" })
  await other.close()
  let release = (): void => undefined
  page.gateway.intercept = ({ method }) =>
    method === "PATCH" ? new Promise((pass) => (release = () => pass(undefined))) : undefined
  const completing = page.changes.complete(task, true)
  await settled(() => page.gateway.changes().at(-1)?.method === "PATCH")
  const before = page.gateway.seen.length
  await page.data.pulse.look()
  expect(page.gateway.seen.slice(before).every(({ url }) => !url.includes("limit=100"))).toBe(true)
  release()
  await completing
  await settled(() => page.titles().length === 2)
})

test("a longer list comes in pages, follows its cursor, and finds what is sought", async () => {
  await page.api.POST("/api/{user_id}/import", {
    params: { path: { user_id: page.userId } },
    body: { tasks: Array.from({ length: 130 }, (_, index) => ({ title: `Task ${index}` })) },
  })
  const list = await page.client.fetchInfiniteQuery({ ...page.data.list(ALL), pages: 2 })
  expect(list.pages.map(({ tasks }) => tasks.length)).toEqual([100, 30])
  const found = await page.client.fetchInfiniteQuery(page.data.list({ ...ALL, search: " TASK 77 " }))
  expect(found.pages[0]?.tasks.map(({ title }) => title)).toEqual(["Task 77"])
  expect(page.openCount()).toBeNaN()
})

test("what cannot be sought is left out of a search", async () => {
  await page.changes.add({ title: "Buy milk" })
  const search = "buy\tmilk\ud83d" + " ".repeat(300) + "x"
  const found = await page.client.fetchInfiniteQuery(page.data.list({ ...ALL, search }))
  expect(found.pages[0]?.tasks).toHaveLength(1)
})

test("what is changed after the end of the session is kept, and sent in its order once the session is back", async () => {
  const kept = await page.changes.add({ title: "Kept" })
  await page.show()
  const issue = page.gateway.token
  page.gateway.token = async () => ({ status: 401 })
  interfere({ status: 401 })
  const all = [
    page.changes.complete(kept, true),
    page.changes.add({ title: "One" }),
    page.changes.add({ title: "Two" }),
  ]
  await settled(() => page.connection.reach() === "expired")
  expect(page.titles()).toEqual(["Two", "One", "Kept"])
  expect(page.changes.unsaved()).toBe(3)
  page.gateway.token = issue
  await Promise.all(all)
  expect(page.connection.reach()).toBe("online")
  expect((await page.stored()).map(({ title, completed }) => [title, completed])).toEqual([
    ["Two", false],
    ["One", false],
    ["Kept", true],
  ])
})
