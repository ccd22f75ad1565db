import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { SignJWT } from "jose"

const SECRET = "a-secret-that-only-the-tests-of-the-frontend-know"
const ROOT = resolve(import.meta.dirname, "../../..")
const VENV = join(ROOT, ".venv/bin/flask")
const FLASK = existsSync(VENV) ? VENV : "flask"

/** A token as Better Auth makes it. */
export function sign(userId: string, life = 900): Promise<string> {
  return new SignJWT({ jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + life)
    .sign(new TextEncoder().encode(SECRET))
}

/** The real task service, with a database of its own. */
export class TaskService {
  port = 0
  #process: ChildProcess | undefined
  readonly #folder = mkdtempSync(join(tmpdir(), "taskapi-"))
  readonly #env: NodeJS.ProcessEnv

  constructor(settings: Record<string, string> = {}) {
    this.#env = {
      PATH: process.env.PATH,
      NODE_ENV: "test",
      FLASK_SKIP_DOTENV: "1",
      BETTER_AUTH_SECRET: SECRET,
      DATABASE_URL: `sqlite:///${join(this.#folder, "tasks.db")}`,
      RATE_LIMIT: "off",
      ...settings,
    }
  }

  async start(): Promise<void> {
    const options = { cwd: ROOT, env: this.#env }
    const upgraded = spawnSync(FLASK, ["--app", "wsgi", "db", "upgrade"], { ...options, encoding: "utf8" })
    if (upgraded.status !== 0) throw new Error(`the task service has no database: ${upgraded.stderr}`)
    this.port = await freePort()
    this.#process = spawn(FLASK, ["--app", "wsgi", "run", "-p", String(this.port)], {
      ...options,
      stdio: "ignore",
    })
    for (let tries = 0; tries < 150; tries++) {
      const ready = await fetch(`http://127.0.0.1:${this.port}/readyz`).catch(() => undefined)
      if (ready?.ok) return
      await new Promise((again) => setTimeout(again, 100))
    }
    throw new Error("the task service does not start")
  }

  stop(): void {
    this.#process?.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export type Seen = {
  method: string
  url: string
  headers: IncomingMessage["headers"]
  body: string
  status: number
}
type Answer = { status: number; headers?: Record<string, string>; body?: unknown }

/** What stands between a page and the services: it passes requests on, or does what a network may do to them. */
export class Gateway {
  readonly seen: Seen[] = []
  /** Made up instead of passing on; undefined passes on. */
  intercept: (
    seen: Seen,
  ) => Answer | "hang" | "lose" | undefined | Promise<Answer | "hang" | "lose" | undefined> = () => undefined
  /** How many tokens were asked for. */
  tokens = 0
  token: () => Promise<Answer | "break"> = async () => ({ status: 200, body: { token: await sign("alice") } })
  port = 0
  #server: Server | undefined
  readonly #behind: number | undefined

  constructor(behind?: number) {
    this.#behind = behind
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    this.port ||= await freePort()
    this.#server = createServer((request, response) => void this.#serve(request, response))
    await new Promise<void>((listening) => this.#server?.listen(this.port, "127.0.0.1", listening))
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((closed) => this.#server?.close(closed))
  }

  /** Requests of the task service, without those that only look. */
  changes(): Seen[] {
    return this.seen.filter(({ method }) => method !== "GET")
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request
    let body = ""
    for await (const part of request) body += String(part)
    if (url === "/api/auth/token") {
      this.tokens++
      const made = await this.token()
      return made === "break" ? void response.destroy() : answer(response, made)
    }
    const seen = { method, url, headers, body, status: 0 }
    this.seen.push(seen)
    const made = await this.intercept(seen)
    if (made === "hang") return
    if (made !== undefined && made !== "lose") {
      seen.status = made.status
      return answer(response, made)
    }
    const { connection, "transfer-encoding": chunked, ...sent } = headers
    void [connection, chunked]
    const onward = forward({ port: this.#behind, method, path: url, headers: sent }, (behind) => {
      seen.status = behind.statusCode ?? 0
      // Carried out, and nobody is told.
      if (made === "lose") return void behind.resume().on("end", () => response.destroy())
      response.writeHead(seen.status, behind.headers)
      behind.pipe(response)
    })
    onward.on("error", () => answer(response, { status: 502, body: "Bad gateway" }))
    onward.end(body)
  }
}

function answer(response: ServerResponse, { status, headers, body }: Answer): void {
  const type = status >= 400 && typeof body === "object" ? "application/problem+json" : "application/json"
  response.writeHead(status, { "Content-Type": typeof body === "string" ? "text/html" : type, ...headers })
  response.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body))
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}
