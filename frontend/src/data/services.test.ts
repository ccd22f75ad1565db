import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { SessionEnded, SignInRequired } from "@/api/errors"
import { Gateway } from "@/testing/gateway"
import { endSession, getServices } from "./services"

const replace = vi.fn()
let gateway: Gateway

beforeEach(async () => {
  gateway = new Gateway()
  await gateway.start()
  vi.stubGlobal("window", { location: { replace } })
  // Resolve relative URLs against the gateway, as a browser does against the origin of the page.
  const real = fetch
  vi.stubGlobal("fetch", (target: string | Request, init?: RequestInit) =>
    real(typeof target === "string" ? gateway.url + target : target, init),
  )
})

afterEach(async () => {
  vi.unstubAllGlobals()
  replace.mockReset()
  await gateway.stop()
})

test("services persist for the same user; another user gets new ones and the previous data is discarded", async () => {
  const alice = getServices(gateway.url, "alice")
  alice.client.setQueryData(["tasks", "secret"], "of alice")
  await alice.token.get()
  expect(getServices(gateway.url, "alice")).toBe(alice)
  const bob = getServices(gateway.url, "bob")
  expect(bob).not.toBe(alice)
  expect(alice.client.getQueryData(["tasks", "secret"])).toBeUndefined()
  await expect(alice.token.get()).rejects.toBeInstanceOf(SessionEnded)
})

test("services are not shared during server-side rendering", () => {
  vi.stubGlobal("window", undefined)
  expect(getServices(gateway.url, "alice")).not.toBe(getServices(gateway.url, "alice"))
})

test("after a sign-out the same user gets new services", async () => {
  const before = getServices(gateway.url, "alice")
  await before.token.get()
  before.client.setQueryData(["tasks"], "of alice")
  endSession(before)
  expect(before.client.getQueryData(["tasks"])).toBeUndefined()
  await expect(before.token.get()).rejects.toEqual(new SessionEnded("signed-out"))
  const after = getServices(gateway.url, "alice")
  await expect(after.token.get()).resolves.toEqual(expect.any(String))
  endSession(after)
})

const EXPIRED = async () => ({ status: 401 })

/** Make the gateway respond to every request with a created task. */
function respondWithCreatedTasks(): void {
  let made = 0
  gateway.intercept = ({ body }) => ({
    status: 201,
    body: { ...(JSON.parse(body) as object), id: (made += 1), version: 1 },
  })
}

/** Wait long enough for a redirect or a rejected change to happen. */
const shortDelay = () => new Promise((soon) => setTimeout(soon, 300))

test("an expired session redirects to the sign-in page if there is no unsaved work", async () => {
  gateway.token = EXPIRED
  const { token } = getServices(gateway.url, "alice")
  await expect(token.get()).rejects.toEqual(new SessionEnded("expired"))
  await vi.waitFor(() => expect(replace).toHaveBeenCalledWith("/sign-in?expired=1"))
  await expect(token.get()).rejects.toBeInstanceOf(SessionEnded)
  await shortDelay()
  expect(replace).toHaveBeenCalledTimes(1)
  endSession(getServices(gateway.url, "alice"))
})

test("unsaved changes wait while the session is expired, and are sent after a new sign-in", async () => {
  respondWithCreatedTasks()
  const issue = gateway.token
  gateway.token = EXPIRED
  const services = getServices(gateway.url, "alice")
  const { tasks, connection, token, unsaved } = services
  const added = [tasks.changes.add({ title: "1" }), tasks.changes.add({ title: "2" })]
  await vi.waitFor(() => expect(connection.state()).toBe("expired"))
  await shortDelay()
  expect(unsaved.count()).toBe(2)
  expect(tasks.changes.log()).toHaveLength(2)
  expect(replace).not.toHaveBeenCalled()
  expect(gateway.requests).toEqual([])

  gateway.token = issue
  await token.recheckSession()
  expect((await Promise.all(added)).map(({ title }) => title)).toEqual(["1", "2"])
  expect(gateway.changes().map(({ body }) => body)).toEqual(['{"title":"1"}', '{"title":"2"}'])
  expect(connection.state()).toBe("online")
  expect(unsaved.count()).toBe(0)
  expect(replace).not.toHaveBeenCalled()
  endSession(services)
})

test("a new sign-in is detected automatically with few token requests", async () => {
  respondWithCreatedTasks()
  const issue = gateway.token
  gateway.token = EXPIRED
  const services = getServices(gateway.url, "alice")
  const added = Promise.all(["1", "2", "3"].map((title) => services.tasks.changes.add({ title })))
  await vi.waitFor(() => expect(services.connection.state()).toBe("expired"))
  for (let count = 0; count < 5; count++)
    await expect(services.token.get()).rejects.toMatchObject({ status: 401 })
  expect(gateway.tokenRequests).toBe(1)
  gateway.token = issue
  await added
  expect(gateway.tokenRequests).toBe(2)
  endSession(services)
})

test("an open draft delays the redirect to the sign-in page until it is closed", async () => {
  gateway.token = EXPIRED
  const services = getServices(gateway.url, "alice")
  const close = services.unsaved.openDraft()
  expect(services.unsaved.count()).toBe(1)
  await expect(services.token.get()).rejects.toBeInstanceOf(SignInRequired)
  await shortDelay()
  expect(replace).not.toHaveBeenCalled()
  close()
  await services.token.recheckSession()
  await vi.waitFor(() => expect(replace).toHaveBeenCalledWith("/sign-in?expired=1"))
  endSession(services)
})

test.each([
  ["immediately", false],
  ["after the session has ended", true],
])("a session of another user, %s, rejects all pending changes and reloads the page", async (_, later) => {
  const issue = gateway.token
  if (later) gateway.token = EXPIRED
  const services = getServices(gateway.url, "bob")
  const { tasks, token, connection, unsaved } = services
  const added = Promise.allSettled([tasks.changes.add({ title: "1" }), tasks.changes.add({ title: "2" })])
  if (later) {
    await vi.waitFor(() => expect(connection.state()).toBe("expired"))
    gateway.token = issue
    await token.recheckSession()
  }
  expect((await added).map(({ status }) => status)).toEqual(["rejected", "rejected"])
  expect(tasks.changes.unconfirmedCount()).toBe(0)
  expect(unsaved.count()).toBe(0)
  expect(connection.state()).toBe("online")
  expect(gateway.requests).toEqual([])
  expect(replace).not.toHaveBeenCalled()
  await vi.waitFor(() => expect(replace).toHaveBeenCalledWith("/"))
  endSession(services)
})

test.each([
  ["while a request is pending", false],
  ["while the session is expired", true],
])("a sign-out in another tab, %s, discards unsaved work", async (_, waiting) => {
  if (waiting) gateway.token = EXPIRED
  else gateway.intercept = () => "hang"
  const services = getServices(gateway.url, "alice")
  const { tasks, token, connection, unsaved } = services
  const added = tasks.changes.add({ title: "1" }).catch((error: unknown) => error)
  unsaved.openDraft()
  if (waiting) await vi.waitFor(() => expect(connection.state()).toBe("expired"))
  else await vi.waitFor(() => expect(gateway.requests).toHaveLength(1))
  gateway.token = EXPIRED
  await token.verifySignOut()
  expect(unsaved.count()).toBe(0)
  await vi.waitFor(() => expect(replace).toHaveBeenCalledWith("/sign-in?expired=1"))
  if (waiting) expect(await added).toEqual(new SessionEnded("expired"))
  endSession(services)
})

test("a sign-out in another tab that was followed by a sign-in has no effect", async () => {
  const services = getServices(gateway.url, "alice")
  await services.token.verifySignOut()
  expect(gateway.tokenRequests).toBe(1)
  gateway.token = EXPIRED
  const close = services.unsaved.openDraft()
  services.token.clear()
  await expect(services.token.get()).rejects.toBeInstanceOf(SignInRequired)
  close()
  endSession(services)
})

test("a token that the API rejects causes no redirect loop", async () => {
  gateway.intercept = () => ({ status: 401 })
  const { tasks } = getServices(gateway.url, "alice")
  await expect(tasks.changes.add({ title: "1" })).rejects.toEqual(new SessionEnded("token-rejected"))
  await new Promise((soon) => setTimeout(soon, 200))
  expect(replace).not.toHaveBeenCalled()
})
