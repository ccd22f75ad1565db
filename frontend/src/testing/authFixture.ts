import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { decodeJwt } from "jose"
import { Client } from "pg"
import { afterEach, beforeEach, vi } from "vitest"
import { createAuthServer, type AuthServer } from "@/server/auth"
import { readSettings, type Environment, type Settings } from "@/server/settings"

// Test fixture: the real auth server on a database of its own, with a fake API that records requests.

export const ORIGIN = "http://tasks.test"
export const SECRET = "a-secret-for-tests-only-0123456789abcdef"
export const PASSWORD = "correct horse battery"

/** PostgreSQL is tested as well if TEST_AUTH_DATABASE_URL names a server on which the tests can create databases. */
export const DIALECTS = process.env.TEST_AUTH_DATABASE_URL ? ["sqlite", "postgresql"] : ["sqlite"]

/** Fake task API that records requests and responds with configurable statuses. */
export class RecordingApi {
  /** All logout tokens that were received, in order, whatever the response was. */
  readonly logoutTokens: string[] = []
  readonly requests: { method: string; path: string; contentType: string }[] = []
  /** The `traceparent` headers of all requests, in order. */
  readonly traceparents: (string | undefined)[] = []
  /** Status of the response to a logout token; "hang": no response. */
  logoutStatus: number | "hang" = 200
  /** The access tokens of all erasure requests. */
  readonly erasureTokens: string[] = []
  /** Status of the response to an erasure request. */
  erasureStatus = 204
  /** Number of the user's tasks that `GET /stats` returns. */
  taskCount = 0
  /** Called and awaited after an erasure, before its response. */
  afterErasure: () => unknown = () => {}
  #server: Server | undefined
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** The session ids of the received logout tokens, sorted. */
  get sids(): string[] {
    return this.logoutTokens.map((token) => String(decodeJwt(token).sid)).sort()
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      let body = ""
      request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk))
      request.on("end", () => {
        this.requests.push({
          method: request.method ?? "",
          path: request.url ?? "",
          contentType: request.headers["content-type"] ?? "",
        })
        this.traceparents.push(request.headers.traceparent?.toString())
        if (request.method === "DELETE") {
          this.erasureTokens.push(request.headers.authorization?.replace("Bearer ", "") ?? "")
          if (this.erasureStatus === 204) this.taskCount = 0
          void Promise.resolve(this.afterErasure()).then(() => response.writeHead(this.erasureStatus).end())
          return
        }
        if (request.method === "GET") {
          response.end(JSON.stringify({ total: this.taskCount, trash: 0 }))
          return
        }
        this.logoutTokens.push(new URLSearchParams(body).get("logout_token") ?? "")
        if (this.logoutStatus === "hang") return
        response
          .writeHead(this.logoutStatus)
          .end(this.logoutStatus === 200 ? "" : "the body of the API's response")
      })
    })
    const server = this.#server
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve))
    this.#port = (server.address() as AddressInfo).port
  }

  /** Refuse connections from now on; `start` listens on the same port again. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.closeAllConnections()
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()))
  }
}

/** HTTP client with a cookie jar that calls the auth server in this process. */
export class Browser {
  readonly #cookies = new Map<string, string>()

  constructor(
    private readonly server: AuthServer,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  /** Send a request below /api/auth with the stored cookies, and store those of the response. */
  async call(method: "GET" | "POST", route: string, body?: unknown): Promise<Response> {
    const response = await this.server.handle(
      new Request(`${ORIGIN}/api/auth${route}`, {
        method,
        headers: {
          ...this.headers,
          origin: ORIGIN,
          cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; "),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    )
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === "" || /max-age=0/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }

  async post(route: string, body: unknown = {}): Promise<Response> {
    return this.call("POST", route, body)
  }

  async signUp(email: string): Promise<Response> {
    return this.post("/sign-up/email", { name: "Ada Lovelace", email, password: PASSWORD })
  }

  async signIn(email: string, password = PASSWORD): Promise<Response> {
    return this.post("/sign-in/email", { email, password })
  }

  /** Return a new access token. */
  async token(): Promise<string> {
    const { token } = (await (await this.call("GET", "/token")).json()) as { token: string }
    return token
  }

  /** Return the current session; undefined if the browser is not signed in. */
  async session(): Promise<{ id: string; userId: string; token: string } | undefined> {
    const body = (await (await this.call("GET", "/get-session")).json()) as {
      session: { id: string; userId: string; token: string }
    } | null
    return body?.session
  }

  /** Return the id of the current session. */
  async sid(): Promise<string> {
    return (await this.session())?.id ?? "no session"
  }
}

const environments: AuthEnvironment[] = []

/** Register the hooks of a test file: silence the console; after each test restore mocks and close all auth environments. */
export function setUpAuthTests(): void {
  beforeEach(() => {
    for (const method of ["error", "warn", "info"] as const)
      vi.spyOn(console, method).mockImplementation(() => {})
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    for (const environment of environments.splice(0)) await environment.close()
  })
}

/** The auth server of one test, with its fake API and database. */
export type AuthEnvironment = {
  server: AuthServer
  settings: Settings
  api: RecordingApi
  databaseUrl: string
  browser(server?: AuthServer, headers?: Readonly<Record<string, string>>): Browser
  /** Create another auth server on the same database, in place of another process. */
  openSecondServer(variables?: Environment): AuthServer
  close(): Promise<void>
}

/** Create an auth server on a new database of the given dialect; `overrides` are environment variables. */
export async function openAuthEnvironment(
  dialect: string,
  overrides: Environment = {},
): Promise<AuthEnvironment> {
  const api = new RecordingApi()
  await api.start()
  const database = dialect === "sqlite" ? await createSqliteDatabase() : await createPostgresqlDatabase()
  const variables: Environment = {
    NODE_ENV: "test",
    BETTER_AUTH_SECRET: SECRET,
    BETTER_AUTH_URL: ORIGIN,
    API_URL: api.url,
    AUTH_DATABASE_URL: database.url,
    ...overrides,
  }
  const servers: AuthServer[] = []
  function open(more: Environment = {}): AuthServer {
    const server = createAuthServer(readSettings({ ...variables, ...more }))
    servers.push(server)
    return server
  }
  const server = open()
  const env: AuthEnvironment = {
    server,
    settings: readSettings(variables),
    api,
    databaseUrl: database.url,
    browser: (other = server, headers = {}) => new Browser(other, headers),
    openSecondServer: open,
    close: async () => {
      for (const one of servers) await one.close()
      await api.stop()
      await database.remove()
    },
  }
  environments.push(env)
  return env
}

type TestDatabase = { url: string; remove: () => Promise<void> }

async function createSqliteDatabase(): Promise<TestDatabase> {
  const folder = await mkdtemp(path.join(tmpdir(), "taskapi-accounts-"))
  return {
    url: `file:${path.join(folder, "below", "auth.db")}`,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

async function createPostgresqlDatabase(): Promise<TestDatabase> {
  const server = process.env.TEST_AUTH_DATABASE_URL ?? ""
  const name = `test_${randomBytes(8).toString("hex")}`
  await runStatement(server, `create database ${name}`)
  const url = server.replace(/^(\w+:\/\/[^/]*)[^?]*/, `$1/${name}`)
  return { url, remove: () => runStatement(server, `drop database ${name} with (force)`) }
}

/** Run one SQL statement on a connection of its own. */
export async function runStatement(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
