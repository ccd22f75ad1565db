import { environmentManager, QueryObserver } from "@tanstack/react-query"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { ALL, OpenPage, waitFor } from "@/testing/openPage"
import { TaskService } from "@/testing/taskService"

const service = new TaskService()
let page: OpenPage

beforeAll(() => service.start(), 90_000)
afterAll(() => service.stop())
beforeEach(async () => {
  page = await OpenPage.open(service.port)
})
afterEach(() => page.close())

test("a list response that was sent before a change is corrected by it", async () => {
  const task = await page.changes.add({ title: "Before" })
  await page.show()
  // The list request is sent before the change, and its response arrives after it.
  let release = (): void => undefined
  const late = await page.stored()
  page.gateway.intercept = ({ method, url }) =>
    method === "GET" && url.includes("limit=100")
      ? new Promise(
          (arrive) => (release = () => arrive({ status: 200, body: late, headers: { ETag: '"1.x"' } })),
        )
      : undefined
  const reading = page.client.refetchQueries({ queryKey: ["tasks"] })
  await waitFor(() =>
    page.gateway.requests.some(({ url, status }) => url.includes("limit=100") && status === 0),
  )
  await page.changes.edit(task, { title: "After" })
  release()
  await reading
  expect(page.titles()).toEqual(["After"])
})

test("polling detects other clients' changes, and does not refetch lists without changes", async () => {
  await page.show()
  const other = await page.openSecond(service.port)
  await other.changes.add({ title: "From elsewhere" })
  await other.close()
  await page.data.poller.poll()
  await waitFor(() => page.titles().length === 1)
  expect(page.openCount()).toBe(1)
  const before = page.gateway.requests.length
  await page.data.poller.poll()
  await page.data.poller.poll()
  const looked = page.gateway.requests.slice(before)
  expect(looked.map(({ url, status }) => [url.includes("limit=1&"), status])).toEqual([
    [true, 304],
    [true, 304],
  ])
})

test("polling detects within three seconds that the API is back", async () => {
  // Without `window`, TanStack Query assumes server-side rendering and ignores `refetchInterval`.
  environmentManager.setIsServer(() => false)
  const watching = new QueryObserver(page.client, {
    ...page.data.poller.options,
    refetchInterval: page.data.poller.interval,
  }).subscribe(() => undefined)
  await waitFor(() => !Number.isNaN(page.openCount()))
  await page.gateway.stop()
  await waitFor(() => page.connection.state() === "unavailable")
  await page.gateway.start()
  await waitFor(() => page.connection.state() === "online", 3_000)
  watching()
})

test("lists are not refetched while a change is unconfirmed", async () => {
  const task = await page.changes.add({ title: "Mine" })
  await page.show()
  const other = await page.openSecond(service.port)
  await other.changes.add({ title: "Theirs" })
  await other.close()
  let release = (): void => undefined
  page.gateway.intercept = ({ method }) =>
    method === "PATCH" ? new Promise((pass) => (release = () => pass(undefined))) : undefined
  const completing = page.changes.complete(task, true)
  await waitFor(() => page.gateway.changes().at(-1)?.method === "PATCH")
  const before = page.gateway.requests.length
  await page.data.poller.poll()
  expect(page.gateway.requests.slice(before).every(({ url }) => !url.includes("limit=100"))).toBe(true)
  release()
  await completing
  await waitFor(() => page.titles().length === 2)
})

test("a long list is read page by page with its cursor, and can be searched", async () => {
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

test("characters that the API rejects are removed from a search", async () => {
  await page.changes.add({ title: "Buy milk" })
  const search = "buy\tmilk\ud83d" + " ".repeat(300) + "x"
  const found = await page.client.fetchInfiniteQuery(page.data.list({ ...ALL, search }))
  expect(found.pages[0]?.tasks).toHaveLength(1)
})
