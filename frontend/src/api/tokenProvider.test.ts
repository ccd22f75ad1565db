import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { Gateway } from "@/testing/gateway"
import { signToken } from "@/testing/taskService"
import { Connection } from "./connection"
import { ApiError, SessionEnded, SignInRequired } from "./errors"
import { TokenProvider } from "./tokenProvider"

let gateway: Gateway
let connection: Connection
let token: TokenProvider

beforeEach(async () => {
  gateway = new Gateway()
  await gateway.start()
  connection = new Connection()
  token = new TokenProvider("alice", connection, { url: `${gateway.url}/api/auth/token` })
})

afterEach(async () => {
  vi.useRealTimers()
  await gateway.stop()
})

function lifetime(seconds: number): void {
  gateway.token = async () => ({ status: 200, body: { token: await signToken("alice", seconds) } })
}

/** Advance `Date` only; timers and sockets keep the real time. */
function advanceClock(seconds: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 })
}

test("concurrent calls share one token request", async () => {
  const tokens = await Promise.all(Array.from({ length: 10 }, () => token.get()))
  expect(new Set(tokens).size).toBe(1)
  expect(gateway.tokenRequests).toBe(1)
  expect(await token.get()).toBe(tokens[0])
  expect(gateway.tokenRequests).toBe(1)
})

test.each([
  [900, 868, 872],
  [20, 15, 17],
])("a token of %i s is kept until %i s and replaced by %i s", async (life, kept, replaced) => {
  lifetime(life)
  const first = await token.get()
  advanceClock(kept)
  expect(await token.get()).toBe(first)
  advanceClock(replaced - kept)
  expect(await token.get()).not.toBe(first)
  expect(gateway.tokenRequests).toBe(2)
})

test("a clock that is days ahead does not expire the token", async () => {
  advanceClock(5 * 86_400)
  gateway.token = async () => {
    vi.useRealTimers()
    const made = await signToken("alice")
    advanceClock(5 * 86_400)
    return { status: 200, body: { token: made } }
  }
  const first = await token.get()
  expect(await token.get()).toBe(first)
  expect(gateway.tokenRequests).toBe(1)
})

test("a rejected token is refreshed once for all concurrent callers", async () => {
  const first = await token.get()
  const [one, other] = await Promise.all([token.refresh(first), token.refresh(first)])
  expect(one).toBe(other)
  expect(one).not.toBe(first)
  expect(await token.refresh(first)).toBe(one)
  expect(gateway.tokenRequests).toBe(2)
})

test("a 401 of the auth server ends the provider for good", async () => {
  gateway.token = async () => ({ status: 401 })
  await expect(token.get()).rejects.toEqual(new SessionEnded("expired"))
  gateway.token = async () => ({ status: 200, body: { token: await signToken("alice") } })
  await expect(token.get()).rejects.toBeInstanceOf(SessionEnded)
  expect(gateway.tokenRequests).toBe(1)
})

test("an expired session drops the cached token, and ends once there is no unsaved work", async () => {
  let holds = true
  token = new TokenProvider("alice", connection, {
    url: `${gateway.url}/api/auth/token`,
    hasUnsavedWork: () => holds,
  })
  await token.get()
  gateway.token = async () => ({ status: 401 })
  advanceClock(880)
  await expect(token.get()).rejects.toBeInstanceOf(SignInRequired)
  expect(connection.state()).toBe("expired")
  lifetime(900)
  await token.recheckSession()
  await expect(token.get()).resolves.toEqual(expect.any(String))
  expect(connection.state()).toBe("online")
  holds = false
  token.clear()
  gateway.token = async () => ({ status: 401 })
  await expect(token.get()).rejects.toEqual(new SessionEnded("expired"))
})

test("the token of another user is not used", async () => {
  gateway.token = async () => ({ status: 200, body: { token: await signToken("bob") } })
  await expect(token.get()).rejects.toEqual(new SessionEnded("other-user"))
})

test("an auth server that does not respond is a network error, and the next call retries", async () => {
  gateway.token = async () => "break"
  await expect(token.get()).rejects.toMatchObject({ status: 0, code: "network" })
  expect(connection.state()).toBe("unavailable")
  lifetime(900)
  await expect(token.get()).resolves.toEqual(expect.any(String))
})

test("a token that could not be refreshed is used until it expires", async () => {
  const first = await token.get()
  gateway.token = async () => ({ status: 503, headers: { "Retry-After": "7" } })
  advanceClock(880)
  expect(await token.get()).toBe(first)
  advanceClock(25)
  await expect(token.get()).rejects.toMatchObject({ status: 503, retryAfter: 7 })
})

test.each([{ body: "<html>" }, { body: {} }, { body: { token: 5 } }, { body: { token: "x" } }])(
  "a response without a token is an error: %j",
  async ({ body }) => {
    gateway.token = async () => ({ status: 200, body })
    await expect(token.get()).rejects.toBeInstanceOf(ApiError)
  },
)

test("after a sign-out no token is cached, not even that of a pending request", async () => {
  const pending = token.get()
  token.end(new SessionEnded("signed-out"))
  await expect(pending).rejects.toEqual(new SessionEnded("signed-out"))
  await expect(token.get()).rejects.toEqual(new SessionEnded("signed-out"))
  expect(gateway.tokenRequests).toBe(1)
})

test("the token of a request that was pending during clear() is not cached", async () => {
  const pending = token.get()
  token.clear()
  const first = await pending
  expect(await token.get()).not.toBe(first)
})
