import { afterEach, beforeEach, expect, test } from "vitest"
import { Gateway } from "@/testing/gateway"
import { createApi, type Api } from "./client"
import { Connection } from "./connection"
import { ApiError, ConflictError, SessionEnded } from "./errors"
import { TokenProvider } from "./tokenProvider"

let gateway: Gateway
let connection: Connection
let api: Api

beforeEach(async () => {
  gateway = new Gateway()
  await gateway.start()
  connect()
})

function connect(timeout = 10_000, prefix = "") {
  connection = new Connection()
  const token = new TokenProvider("alice", connection, { url: `${gateway.url}/api/auth/token` })
  api = createApi({ url: `${gateway.url}${prefix}`, token, connection, timeout })
}

afterEach(() => gateway.stop())

function read() {
  return api.GET("/api/{user_id}/tasks", { params: { path: { user_id: "alice" } } })
}

function add() {
  return api.POST("/api/{user_id}/tasks", {
    params: { path: { user_id: "alice" }, header: { "Idempotency-Key": "key" } },
    body: { title: "Buy milk" },
  })
}

test("a 401 refreshes the token once and repeats the request with its body and idempotency key", async () => {
  gateway.intercept = () =>
    gateway.requests.length === 1 ? { status: 401 } : { status: 201, body: { id: 1 } }
  expect((await add()).data).toEqual({ id: 1 })
  const [first, second] = gateway.requests
  expect(second?.body).toBe('{"title":"Buy milk"}')
  expect(second?.body).toBe(first?.body)
  expect(second?.headers["idempotency-key"]).toBe("key")
  expect(first?.headers.authorization).toMatch(/^Bearer ey/)
  expect(second?.headers.authorization).not.toBe(first?.headers.authorization)
  expect(gateway.tokenRequests).toBe(2)
})

test("the attempts of a call are spans of one trace, and another call is another trace", async () => {
  gateway.intercept = () => ({ status: gateway.requests.length === 1 ? 401 : 200, body: [] })
  await read()
  await read()
  const headers = gateway.requests.map((request) => String(request.headers.traceparent))
  for (const header of headers) expect(header).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  const [first, repeated, other] = headers.map((header) => header.split("-"))
  expect(repeated?.[1]).toBe(first?.[1])
  expect(repeated?.[2]).not.toBe(first?.[2])
  expect(other?.[1]).not.toBe(first?.[1])
})

test("the path of the API's URL, and an encoded user id, are in the URL of every request", async () => {
  connect(10_000, "/tasks-api")
  gateway.intercept = () => ({ status: 200, body: [] })
  for (const user_id of ["alice", "a b?c#d%e;f+g@h.example", "DOMAIN\\user", "%2e%2e", "...", "åé日本😀"])
    await api.GET("/api/{user_id}/tasks", { params: { path: { user_id }, query: { q: "x y" } } })
  expect(gateway.requests.map(({ url }) => url)).toEqual([
    "/tasks-api/api/alice/tasks?q=x%20y",
    "/tasks-api/api/a%20b%3Fc%23d%25e%3Bf%2Bg%40h.example/tasks?q=x%20y",
    "/tasks-api/api/DOMAIN%5Cuser/tasks?q=x%20y",
    "/tasks-api/api/%252e%252e/tasks?q=x%20y",
    "/tasks-api/api/.../tasks?q=x%20y",
    "/tasks-api/api/%C3%A5%C3%A9%E6%97%A5%E6%9C%AC%F0%9F%98%80/tasks?q=x%20y",
  ])
})

test("a second 401 ends with SessionEnded", async () => {
  gateway.intercept = () => ({ status: 401 })
  await expect(read()).rejects.toEqual(new SessionEnded("token-rejected"))
  expect(gateway.requests).toHaveLength(2)
})

test("a refresh detects that the session has ended", async () => {
  gateway.intercept = () => {
    gateway.token = async () => ({ status: 401 })
    return { status: 401 }
  }
  await expect(read()).rejects.toEqual(new SessionEnded("expired"))
  await expect(read()).rejects.toEqual(new SessionEnded("expired"))
  expect(gateway.requests).toHaveLength(1)
})

test("a problem document becomes an ApiError with messages by member", async () => {
  gateway.intercept = () => ({
    status: 422,
    body: {
      type: "/problems/invalid",
      title: "The body breaks a rule",
      status: 422,
      detail: "See errors.",
      code: "invalid",
      request_id: "r-1",
      errors: [
        { pointer: "/title", detail: "Too long.", code: "length" },
        { pointer: "/tags/3", detail: "Is there already.", code: "unique" },
        { pointer: "", detail: "Nothing fits.", code: "type" },
      ],
    },
  })
  const error = await add().catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({
    ...{ status: 422, code: "invalid", detail: "See errors.", requestId: "r-1" },
    fields: { title: "Too long.", tags: "Is there already." },
  })
})

test("a 412 becomes a ConflictError with the current task", async () => {
  gateway.intercept = () => ({
    status: 412,
    body: { code: "precondition-failed", current: { id: 1, version: 9 } },
  })
  const error = await add().catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConflictError)
  expect(error).toMatchObject({ status: 412, current: { version: 9 } })
})

test.each([502, 503, 504])("a %i with an HTML body of a proxy becomes an ApiError", async (status) => {
  gateway.intercept = () => ({ status, headers: { "Retry-After": "4" }, body: "<html>Bad gateway</html>" })
  await expect(read()).rejects.toMatchObject({ status, code: `http-${status}`, retryAfter: 4 })
  expect(connection.state()).toBe("unavailable")
})

test("a timeout sets the state to unavailable, and the next response to online", async () => {
  connect(1000)
  gateway.intercept = () => "hang"
  await expect(read()).rejects.toMatchObject({ status: 0, code: "timeout" })
  expect(connection.state()).toBe("unavailable")
  gateway.intercept = () => ({ status: 200, body: [] })
  await read()
  expect(connection.state()).toBe("online")
})

test("a refused connection is a network error", async () => {
  gateway.intercept = () => ({ status: 200, body: [] })
  await read()
  await gateway.stop()
  await expect(read()).rejects.toMatchObject({ status: 0, code: "network" })
  await gateway.start()
  await expect(read()).resolves.toMatchObject({ data: [] })
})

test("304 is returned as a response", async () => {
  gateway.intercept = () => ({ status: 304, headers: { ETag: '"5.a"' } })
  const { response } = await read()
  expect([response.status, response.headers.get("ETag")]).toEqual([304, '"5.a"'])
})

test("an aborted request does not set the state to unavailable", async () => {
  gateway.intercept = () => "hang"
  const stop = new AbortController()
  const reading = api.GET("/api/{user_id}/tasks", {
    params: { path: { user_id: "alice" } },
    signal: stop.signal,
  })
  setTimeout(() => stop.abort(), 50)
  await expect(reading).rejects.toMatchObject({ name: "AbortError" })
  expect(connection.state()).toBe("online")
})
