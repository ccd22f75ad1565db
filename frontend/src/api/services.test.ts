import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { SessionOver } from "./problem"
import { Gateway } from "./service.fixture"
import { endSession, servicesOf } from "./services"

const replace = vi.fn()
let gateway: Gateway

beforeEach(async () => {
  gateway = new Gateway()
  await gateway.start()
  vi.stubGlobal("window", { location: { replace } })
  // As in a browser, where addresses without an origin are of the page's own.
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

test("a person keeps the services from page to page, another one gets others, and nothing is left of the first", async () => {
  const alice = servicesOf(gateway.url, "alice")
  alice.client.setQueryData(["tasks", "secret"], "of alice")
  await alice.token.get()
  expect(servicesOf(gateway.url, "alice")).toBe(alice)
  const bob = servicesOf(gateway.url, "bob")
  expect(bob).not.toBe(alice)
  expect(alice.client.getQueryData(["tasks", "secret"])).toBeUndefined()
  await expect(alice.token.get()).rejects.toBeInstanceOf(SessionOver)
})

test("a server shares nothing", () => {
  vi.stubGlobal("window", undefined)
  expect(servicesOf(gateway.url, "alice")).not.toBe(servicesOf(gateway.url, "alice"))
})

test("after a sign-out the same person begins anew", async () => {
  const before = servicesOf(gateway.url, "alice")
  await before.token.get()
  before.client.setQueryData(["tasks"], "of alice")
  endSession(before)
  expect(before.client.getQueryData(["tasks"])).toBeUndefined()
  await expect(before.token.get()).rejects.toEqual(new SessionOver("signed-out"))
  const after = servicesOf(gateway.url, "alice")
  await expect(after.token.get()).resolves.toEqual(expect.any(String))
  endSession(after)
})

test.each([
  ["a session that has ended leads to the sign-in page", { status: 401 }, "/sign-in?expired=1"],
  ["the session of somebody else leads to their tasks", undefined, "/"],
])("%s, once all that waits is refused", async (_, answer, address) => {
  if (answer) gateway.token = async () => answer
  const { tasks } = servicesOf(gateway.url, "bob")
  const refused = await Promise.allSettled([
    tasks.changes.add({ title: "1" }),
    tasks.changes.add({ title: "2" }),
  ])
  expect(refused.map(({ status }) => status)).toEqual(["rejected", "rejected"])
  expect(tasks.changes.unsaved()).toBe(0)
  expect(replace).not.toHaveBeenCalled()
  await vi.waitFor(() => expect(replace).toHaveBeenCalledWith(address))
  endSession(servicesOf(gateway.url, "bob"))
})

test("a token that the task service refuses sends nobody round in circles", async () => {
  gateway.intercept = () => ({ status: 401 })
  const { tasks } = servicesOf(gateway.url, "alice")
  await expect(tasks.changes.add({ title: "1" })).rejects.toEqual(new SessionOver("refused"))
  await new Promise((soon) => setTimeout(soon, 200))
  expect(replace).not.toHaveBeenCalled()
})
