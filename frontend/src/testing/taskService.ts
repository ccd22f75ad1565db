import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import type { Readable } from "node:stream"
import { SignJWT } from "jose"

const SECRET = "a-secret-that-only-the-tests-of-the-frontend-know"
const ROOT = resolve(import.meta.dirname, "../../..")
const VENV = join(ROOT, ".venv/bin/flask")
/** Milliseconds that the service may take to become ready; belongs to slow test machines, not to the service. */
const START_TIMEOUT = 60_000
const FLASK = existsSync(VENV) ? VENV : "flask"

/** Sign an access token as the auth server does; `lifetime` in seconds. */
export function signToken(userId: string, lifetime = 900): Promise<string> {
  return new SignJWT({ jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
    .sign(new TextEncoder().encode(SECRET))
}

/** The real task API in a process of its own (`flask run`), with a SQLite database of its own. */
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

  /** Migrate the database, start the service and wait until it is ready. */
  async start(): Promise<void> {
    const options = { cwd: ROOT, env: this.#env }
    const upgraded = spawnSync(FLASK, ["--app", "wsgi", "db", "upgrade"], { ...options, encoding: "utf8" })
    if (upgraded.status !== 0) throw new Error(`the task service has no database: ${upgraded.stderr}`)
    const server = spawn(FLASK, ["--app", "wsgi", "run", "-p", "0"], {
      ...options,
      stdio: ["ignore", "ignore", "pipe"],
    })
    this.#process = server
    this.port = await listeningPort(server.stderr)
    for (const deadline = Date.now() + START_TIMEOUT; Date.now() < deadline;) {
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

/**
 * Return the port that `flask run` logs on stderr. The service binds port 0, so that no other process can take the port
 * between its choice and its use. Reads stderr until the process ends, because a full pipe would block the service.
 */
function listeningPort(stderr: Readable): Promise<number> {
  return new Promise((resolve, reject) => {
    let log = ""
    stderr.setEncoding("utf8").on("data", (chunk: string) => {
      log = (log + chunk).slice(-10_000)
      const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(log)?.[1]
      if (port) resolve(Number(port))
    })
    stderr.on("end", () => reject(new Error(`the task service has ended: ${log}`)))
  })
}
