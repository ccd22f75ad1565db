import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { decodeJwt } from "jose"
import { Client } from "pg"
import { afterEach, beforeEach, vi } from "vitest"
import { openAuth, type AuthServer } from "@/server/auth"
import { readSettings, type Environment, type Settings } from "@/server/settings"

// For tests: a real server of accounts on a database of its own, beside an API that does nothing but listen.

export const ORIGIN = "http://tasks.test"
export const SECRET = "a-secret-for-tests-only-0123456789abcdef"
export const PASSWORD = "correct horse battery"

/** PostgreSQL is tried as well where the environment names a server on which databases may be made. */
export const DIALECTS = process.env.TEST_AUTH_DATABASE_URL ? ["sqlite", "postgresql"] : ["sqlite"]

export class ListeningApi {
  /** Every notice that came in, in order, also those that got no good answer. */
  readonly notices: string[] = []
  readonly requests: { method: string; path: string; contentType: string }[] = []
  answer: number | "hang" = 200
  /** The tokens that everything of a person was asked to be erased with. */
  readonly erasures: string[] = []
  erased = 204
  /** Tasks the API has of the person. */
  tasks = 0
  /** Runs between an erasure and its answer. */
  afterErasure: () => void = () => {}
  #server: Server | undefined
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** The sessions the API heard of. */
  get sids(): string[] {
    return this.notices.map((notice) => String(decodeJwt(notice).sid)).sort()
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
        if (request.method === "DELETE") {
          this.erasures.push(request.headers.authorization?.replace("Bearer ", "") ?? "")
          if (this.erased === 204) this.tasks = 0
          this.afterErasure()
          response.writeHead(this.erased).end()
          return
        }
        if (request.method === "GET") {
          response.end(JSON.stringify({ total: this.tasks, trash: 0 }))
          return
        }
        this.notices.push(new URLSearchParams(body).get("logout_token") ?? "")
        if (this.answer === "hang") return
        response.writeHead(this.answer).end(this.answer === 200 ? "" : "this is what the API says")
      })
    })
    const server = this.#server
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve))
    this.#port = (server.address() as AddressInfo).port
  }

  /** Refuses connections from now on; `start` comes back at the same address. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.closeAllConnections()
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()))
  }
}

/** A browser, as far as accounts are concerned. */
export class Browser {
  readonly #cookies = new Map<string, string>()

  constructor(
    private readonly server: AuthServer,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {}

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

  async token(): Promise<string> {
    const { token } = (await (await this.call("GET", "/token")).json()) as { token: string }
    return token
  }

  async session(): Promise<{ id: string; userId: string; token: string } | undefined> {
    const answer = (await (await this.call("GET", "/get-session")).json()) as {
      session: { id: string; userId: string; token: string }
    } | null
    return answer?.session
  }

  async sid(): Promise<string> {
    return (await this.session())?.id ?? "no session"
  }
}

const trials: Trial[] = []

/** Register the hooks of a test file: silence the console; after each test restore mocks and close all trials. */
export function setUpAuthTests(): void {
  beforeEach(() => {
    for (const method of ["error", "warn", "info"] as const)
      vi.spyOn(console, method).mockImplementation(() => {})
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    for (const trial of trials.splice(0)) await trial.close()
  })
}

export type Trial = {
  server: AuthServer
  settings: Settings
  api: ListeningApi
  databaseUrl: string
  browser(server?: AuthServer): Browser
  /** Another process on the same database. */
  sibling(environment?: Environment): AuthServer
  close(): Promise<void>
}

export async function openTrial(dialect: string, environment: Environment = {}): Promise<Trial> {
  const api = new ListeningApi()
  await api.start()
  const place = dialect === "sqlite" ? await fileDatabase() : await postgresqlDatabase()
  const all: Environment = {
    NODE_ENV: "test",
    BETTER_AUTH_SECRET: SECRET,
    BETTER_AUTH_URL: ORIGIN,
    API_URL: api.url,
    AUTH_DATABASE_URL: place.url,
    ...environment,
  }
  const opened: AuthServer[] = []
  function open(more: Environment = {}): AuthServer {
    const server = openAuth(readSettings({ ...all, ...more }))
    opened.push(server)
    return server
  }
  const server = open()
  const trial: Trial = {
    server,
    settings: readSettings(all),
    api,
    databaseUrl: place.url,
    browser: (other = server) => new Browser(other),
    sibling: open,
    close: async () => {
      for (const one of opened) await one.close()
      await api.stop()
      await place.remove()
    },
  }
  trials.push(trial)
  return trial
}

type Place = { url: string; remove: () => Promise<void> }

async function fileDatabase(): Promise<Place> {
  const folder = await mkdtemp(path.join(tmpdir(), "taskapi-accounts-"))
  return {
    url: `file:${path.join(folder, "below", "auth.db")}`,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

async function postgresqlDatabase(): Promise<Place> {
  const server = process.env.TEST_AUTH_DATABASE_URL ?? ""
  const name = `trial_${randomBytes(8).toString("hex")}`
  await statement(server, `create database ${name}`)
  const url = server.replace(/^(\w+:\/\/[^/]*)[^?]*/, `$1/${name}`)
  return { url, remove: () => statement(server, `drop database ${name} with (force)`) }
}

export async function statement(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
