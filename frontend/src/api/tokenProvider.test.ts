import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { Connection } from "./connection"
import { ApiError, SignInRequired, SessionEnded } from "./errors"
import { Gateway } from "@/testing/gateway"
import { sign } from "@/testing/taskService"
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
  gateway.token = async () => ({ status: 200, body: { token: await sign("alice", seconds) } })
}

/** Let time pass for what reads the clock; sockets keep their own. */
function later(seconds: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 })
}

test("ten who ask at once get one token, asked for once", async () => {
  const tokens = await Promise.all(Array.from({ length: 10 }, () => token.get()))
  expect(new Set(tokens).size).toBe(1)
  expect(gateway.tokens).toBe(1)
  expect(await token.get()).toBe(tokens[0])
  expect(gateway.tokens).toBe(1)
})

test.each([
  [900, 868, 872],
  [20, 15, 17],
])("a token of %i s is kept until %i s and replaced by %i s", async (life, kept, replaced) => {
  lifetime(life)
  const first = await token.get()
  later(kept)
  expect(await token.get()).toBe(first)
  later(replaced - kept)
  expect(await token.get()).not.toBe(first)
  expect(gateway.tokens).toBe(2)
})

test("a clock that is days ahead makes no difference", async () => {
  later(5 * 86_400)
  gateway.token = async () => {
    vi.useRealTimers()
    const made = await sign("alice")
    later(5 * 86_400)
    return { status: 200, body: { token: made } }
  }
  const first = await token.get()
  expect(await token.get()).toBe(first)
  expect(gateway.tokens).toBe(1)
})

test("a token that was refused is replaced, once for all who had it", async () => {
  const first = await token.get()
  const [one, other] = await Promise.all([token.refresh(first), token.refresh(first)])
  expect(one).toBe(other)
  expect(one).not.toBe(first)
  expect(await token.refresh(first)).toBe(one)
  expect(gateway.tokens).toBe(2)
})

test("the issuer's 401 ends it all, for good", async () => {
  gateway.token = async () => ({ status: 401 })
  await expect(token.get()).rejects.toEqual(new SessionEnded("expired"))
  gateway.token = async () => ({ status: 200, body: { token: await sign("alice") } })
  await expect(token.get()).rejects.toBeInstanceOf(SessionEnded)
  expect(gateway.tokens).toBe(1)
})

test("a session that is waited for ends the old token too, and is over once nothing is held", async () => {
  let holds = true
  token = new TokenProvider("alice", connection, {
    url: `${gateway.url}/api/auth/token`,
    hasUnsavedWork: () => holds,
  })
  await token.get()
  gateway.token = async () => ({ status: 401 })
  later(880)
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

test("the token of another person is not used", async () => {
  gateway.token = async () => ({ status: 200, body: { token: await sign("bob") } })
  await expect(token.get()).rejects.toEqual(new SessionEnded("other-user"))
})

test("an issuer that does not answer is an error like any other of the network, and the next attempt counts", async () => {
  gateway.token = async () => "break"
  await expect(token.get()).rejects.toMatchObject({ status: 0, code: "network" })
  expect(connection.state()).toBe("unavailable")
  lifetime(900)
  await expect(token.get()).resolves.toEqual(expect.any(String))
})

test("a token that could not be replaced in time is used to its end", async () => {
  const first = await token.get()
  gateway.token = async () => ({ status: 503, headers: { "Retry-After": "7" } })
  later(880)
  expect(await token.get()).toBe(first)
  later(25)
  await expect(token.get()).rejects.toMatchObject({ status: 503, retryAfter: 7 })
})

test.each([{ body: "<html>" }, { body: {} }, { body: { token: 5 } }, { body: { token: "x" } }])(
  "what is no token is refused: %j",
  async ({ body }) => {
    gateway.token = async () => ({ status: 200, body })
    await expect(token.get()).rejects.toBeInstanceOf(ApiError)
  },
)

test("after a sign-out nothing is kept, not even what was on its way", async () => {
  const coming = token.get()
  token.end(new SessionEnded("signed-out"))
  await expect(coming).rejects.toEqual(new SessionEnded("signed-out"))
  await expect(token.get()).rejects.toEqual(new SessionEnded("signed-out"))
  expect(gateway.tokens).toBe(1)
})

test("what was dropped while it was on its way is not kept", async () => {
  const coming = token.get()
  token.clear()
  const first = await coming
  expect(await token.get()).not.toBe(first)
})
