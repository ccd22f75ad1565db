import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest"
import { ApiError, ConflictError } from "@/api/errors"
import type { RecordedRequest } from "@/testing/gateway"
import { ALL, OpenPage, waitFor } from "@/testing/openPage"
import { TaskService } from "@/testing/taskService"
import type { Filters, TaskView } from "./task"

const service = new TaskService()
let page: OpenPage

beforeAll(() => service.start(), 90_000)
afterAll(() => service.stop())
beforeEach(async () => {
  page = await OpenPage.open(service.port)
})
afterEach(() => {
  vi.restoreAllMocks()
  return page.close()
})

const OPEN: Filters = { ...ALL, show: "open" }
const DONE: Filters = { ...ALL, show: "done" }

function first(filters: Filters = ALL): TaskView {
  const [task] = page.rows(filters)
  if (!task) throw new Error("The list is empty.")
  return task
}

function problem(status: number, code: string, headers: Record<string, string> = {}) {
  return { status, headers, body: { status, code, detail: "For programmers.", request_id: "r" } }
}

/** Inject one fault into each of the next write requests, in order; later ones are forwarded. */
function injectFaults(...faults: Awaited<ReturnType<typeof page.gateway.intercept>>[]): void {
  page.gateway.intercept = ({ method }: RecordedRequest) => (method === "GET" ? undefined : faults.shift())
}

test("a new task is shown immediately, keeps its row key, and is created once", async () => {
  await page.show()
  const made = page.changes.add({ title: "  Buy milk " })
  const draft = first()
  expect(draft).toMatchObject({ title: "Buy milk", pending: true, completed: false })
  expect(draft.id).toBeLessThan(0)
  expect(page.openCount()).toBe(1)
  const task = await made
  expect(first()).toEqual({ ...task, pending: false, key: draft.key })
  await waitFor(() => page.changes.log().length === 0)
  expect(first()).toEqual({ ...task, pending: false, key: draft.key })
  expect(page.openCount()).toBe(1)
  expect(page.confirmations).toBe(1)
})

test("a lost response, 503, 429, 409 in-flight and a refused connection are retried with one key and create one task", async () => {
  await page.show()
  injectFaults(
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

test("changes made while the API is stopped are shown, kept, and sent in order", async () => {
  const kept = await page.changes.add({ title: "Kept" })
  await page.show()
  await page.gateway.stop()
  const all = Promise.all([
    page.changes.complete(kept, true),
    page.changes.add({ title: "First" }),
    page.changes.add({ title: "Second" }),
  ])
  const draft = page.rows()[0] as TaskView
  const edit = page.changes.edit(draft, { title: "Second, mended", priority: "high" })
  const gone = page.changes.add({ title: "Gone" })
  const removed = page.changes.remove(first())
  expect(page.titles()).toEqual(["Second, mended", "First", "Kept"])
  expect(page.rows().map(({ completed }) => completed)).toEqual([false, false, true])
  expect(page.changes.unconfirmedCount()).toBe(6)
  expect(page.openCount()).toBe(2)
  await waitFor(() => page.connection.state() === "unavailable")
  await page.gateway.start()
  await Promise.all([all, edit, gone, removed])
  expect(page.changes.unconfirmedCount()).toBe(0)
  expect(page.connection.state()).toBe("online")
  expect((await page.stored()).map(({ title, priority }) => [title, priority])).toEqual([
    ["Second, mended", "high"],
    ["First", "none"],
    ["Kept", "none"],
  ])
  const methods = page.gateway.changes().map(({ method }) => method)
  expect(methods).toEqual(["POST", "PATCH", "POST", "POST", "PUT", "POST", "DELETE"])
  expect(page.titles()).toEqual(["Second, mended", "First", "Kept"])
})

/** Let the browser be in a time zone until the end of the test. */
function moveTo(timeZone: string | undefined): void {
  const resolved = {
    ...Intl.DateTimeFormat().resolvedOptions(),
    timeZone,
  } as Intl.ResolvedDateTimeFormatOptions
  vi.spyOn(Intl.DateTimeFormat.prototype, "resolvedOptions").mockReturnValue(resolved)
}

/** Return the path and query of each completion that the page sent. */
const completions = () =>
  page.gateway
    .changes()
    .filter(({ url }) => url.includes("/complete"))
    .map(({ url, status }) => [url.slice(url.indexOf("/complete")), status])

test("completing names the time zone at the moment of the click, also when it is sent later", async () => {
  const tasks = await Promise.all([1, 2].map((id) => page.changes.add({ title: `Task ${id}` })))
  await page.show()
  await page.gateway.stop()
  const changes = tasks.map((task, index) => {
    moveTo(["Pacific/Auckland", "America/Los_Angeles"][index])
    return page.changes.complete(task, true)
  })
  moveTo("Europe/Berlin")
  await waitFor(() => page.connection.state() === "unavailable")
  await page.gateway.start()
  await Promise.all(changes)
  expect(completions()).toEqual([
    ["/complete?tz=Pacific%2FAuckland", 200],
    ["/complete?tz=America%2FLos_Angeles", 200],
  ])
})

test("a task is completed without a time zone that the API does not know, and where the browser knows none", async () => {
  const task = await page.changes.add({ title: "Task" })
  moveTo("Antarctica/Newly_Named")
  expect(await page.changes.complete(task, true)).toMatchObject({ completed: true })
  for (const unknown of ["Etc/Unknown", undefined]) {
    moveTo(unknown)
    await page.changes.complete(task, false)
  }
  expect(completions()).toEqual([
    ["/complete?tz=Antarctica%2FNewly_Named", 400],
    ["/complete", 200],
    ["/complete", 200],
    ["/complete", 200],
  ])
})

test("a recurring task is completed in a browser in Auckland", async () => {
  const day = (offset: number) =>
    new Intl.DateTimeFormat("en-CA", { timeZone: "Pacific/Auckland" }).format(
      Date.now() + offset * 86_400_000,
    )
  const [before, input] = [day(1), { title: "Stretch", due_date: day(-9), recurrence: "FREQ=DAILY" }]
  const task = await page.changes.add({ ...input, repeat_from: "completion" })
  moveTo("Pacific/Auckland")
  await page.changes.complete(task, true)
  const next = (await page.stored()).find(({ completed }) => !completed)
  expect([before, day(1)]).toContain(next?.due_date) // midnight may pass meanwhile
})

test("a rejected change is undone completely, and the error names the member", async () => {
  const task = await page.changes.add({ title: "Good", tags: ["a"] })
  await page.show()
  const before = page.rows()
  const refused = page.changes.edit(task, { title: "x".repeat(201), tags: ["b"] })
  expect(first()).toMatchObject({ tags: ["b"], pending: true })
  const error = await refused.catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ status: 422, fields: { title: expect.stringContaining("200 characters") } })
  expect(page.rows()).toEqual(before)
})

test("changes of a task whose add was rejected are rejected too, and no others", async () => {
  await page.show()
  const refused = page.changes.add({ title: "x".repeat(201) })
  const [draft] = page.rows()
  const completed = page.changes.complete(draft as TaskView, true)
  const other = page.changes.add({ title: "Another" })
  await expect(refused).rejects.toMatchObject({ status: 422 })
  await expect(completed).rejects.toMatchObject({ status: 422 })
  await other
  expect(page.titles()).toEqual(["Another"])
  expect(page.openCount()).toBe(1)
})

test("a completed task stays in the list of open tasks for a moment with its check mark", async () => {
  const task = await page.changes.add({ title: "Do it" })
  await page.show(OPEN)
  await page.show(DONE)
  await page.changes.complete(task, true)
  expect(first(OPEN)).toMatchObject({ completed: true, pending: false })
  expect(page.titles(DONE)).toEqual(["Do it"])
  expect(page.openCount()).toBe(0)
  await waitFor(() => page.titles(OPEN).length === 0)
  expect(page.titles(DONE)).toEqual(["Do it"])
  expect(page.openCount()).toBe(0)
})

test("a restored task returns to its position", async () => {
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
  await waitFor(() => page.changes.log().length === 0)
  expect(page.titles()).toEqual(["New", "Middle", "Old"])
})

test("deleting a task that another client has deleted succeeds", async () => {
  const task = await page.changes.add({ title: "Twice" })
  await page.changes.remove(task)
  await expect(page.changes.remove(task)).resolves.toBeUndefined()
})

test("an edit is merged with other clients' changes of other members", async () => {
  const seen = await page.changes.add({ title: "Title", description: "Text" })
  const other = await page.openSecond(service.port)
  await other.changes.edit(seen, { description: "Text of another client" })
  await other.close()
  const edited = await page.changes.edit(seen, { title: "My title", description: "Text" })
  expect(edited).toMatchObject({ title: "My title", description: "Text of another client" })
  const puts = page.gateway.changes().filter(({ method }) => method === "PUT")
  expect(puts.map(({ status }) => status)).toEqual([412, 200])
})

test("an edit of a member that another client changed is a ConflictError, and overwrite forces it", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.openSecond(service.port)
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

test("the same edit by two clients is no conflict", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.openSecond(service.port)
  await other.changes.edit(seen, { title: "Agreed" })
  await other.close()
  await expect(page.changes.edit(seen, { title: "Agreed" })).resolves.toMatchObject({ title: "Agreed" })
})

test("earlier changes of the same page are no conflict, even if the API stores normalized values", async () => {
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

test("an earlier change of the same page does not hide another client's change before it", async () => {
  const seen = await page.changes.add({ title: "Title" })
  const other = await page.openSecond(service.port)
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

test("an unconfirmed change is not undone by a list that does not include it", async () => {
  const task = await page.changes.add({ title: "Before" })
  await page.show()
  let release = (): void => undefined
  page.gateway.intercept = ({ method }) =>
    method === "PUT" ? new Promise((pass) => (release = () => pass(undefined))) : undefined
  const edit = page.changes.edit(task, { title: "After" })
  await page.client.refetchQueries()
  expect(page.titles()).toEqual(["After"])
  await waitFor(() => page.gateway.changes().some(({ method }) => method === "PUT"))
  release()
  await edit
  expect(page.titles()).toEqual(["After"])
})

test("changes made after the session has expired are kept, and sent in order after a new sign-in", async () => {
  const kept = await page.changes.add({ title: "Kept" })
  await page.show()
  const issue = page.gateway.token
  page.gateway.token = async () => ({ status: 401 })
  injectFaults({ status: 401 })
  const all = [
    page.changes.complete(kept, true),
    page.changes.add({ title: "One" }),
    page.changes.add({ title: "Two" }),
  ]
  await waitFor(() => page.connection.state() === "expired")
  expect(page.titles()).toEqual(["Two", "One", "Kept"])
  expect(page.changes.unconfirmedCount()).toBe(3)
  page.gateway.token = issue
  await Promise.all(all)
  expect(page.connection.state()).toBe("online")
  expect((await page.stored()).map(({ title, completed }) => [title, completed])).toEqual([
    ["Two", false],
    ["One", false],
    ["Kept", true],
  ])
})
