import { stat } from "node:fs/promises"
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { sql } from "kysely"
import { Client } from "pg"
import { describe, expect, it } from "vitest"
import { DIALECTS, openTrial, setUpAuthTests, type Trial } from "@/testing/authFixture"

setUpAuthTests()

let trial: Trial

describe.each(DIALECTS)("a database, on %s", (dialect) => {
  it("is brought up to date by whoever starts, also by several at once", async () => {
    trial = await openTrial(dialect, { TOKEN_MODE: "key-pair" })
    const all = [trial.server, ...Array.from({ length: 4 }, () => trial.sibling())]
    await Promise.all(all.map((server) => server.ready()))
    expect(await trial.server.database.kysely.selectFrom("logout_notice").selectAll().execute()).toEqual([])
    const { adapter } = await (await trial.server.ready()).$context
    const keys = await adapter.findMany({ model: "jwks" })
    // On one file, several processes may make a key pair each at their very first start; all are published.
    if (dialect === "postgresql") expect(keys).toHaveLength(1)
    else expect(keys).not.toHaveLength(0)
  })

  it("is left alone by a second start", async () => {
    trial = await openTrial(dialect)
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    const again = trial.sibling()
    await again.ready()
    expect(await again.reachable()).toBe(true)
    expect(await browser.session()).toBeDefined()
  })
})

describe("a file", () => {
  it("has a write-ahead log, so that readers do not wait, and is for its owner alone", async () => {
    trial = await openTrial("sqlite")
    await trial.browser().signUp("ada@example.com")
    const { rows } = await sql`pragma journal_mode`.execute(trial.server.database.kysely)
    expect(rows).toEqual([{ journal_mode: "wal" }])
    const file = trial.databaseUrl.replace("file:", "")
    for (const one of [file, `${file}-wal`, `${file}-shm`]) expect((await stat(one)).mode & 0o077).toBe(0)
  })
})

/** Stands between us and PostgreSQL, and can be gone. */
class Relay {
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  port = 0

  constructor(private readonly target: { host: string; port: number }) {}

  async start(): Promise<void> {
    const { host, port } = this.target
    const server = createServer((inward) => {
      const outward = connect(host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port })
      for (const socket of [inward, outward]) {
        this.#sockets.add(socket)
        socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket))
      }
      inward.pipe(outward).pipe(inward)
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve))
    this.port = (server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const closed = new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

describe.each(DIALECTS.filter((dialect) => dialect === "postgresql"))(
  "a server of databases, %s",
  (dialect) => {
    it("may be away at the start and later; we say 503 meanwhile and heal", async () => {
      trial = await openTrial(dialect)
      const { host, port, database, user, password } = new Client({ connectionString: trial.databaseUrl })
      const relay = new Relay({ host, port })
      await relay.start()
      await relay.stop()
      const account = `${user ?? ""}:${encodeURIComponent(password ?? "")}`
      const url = `postgresql://${account}@127.0.0.1:${relay.port}/${database}`
      const server = trial.sibling({ AUTH_DATABASE_URL: url })
      const browser = trial.browser(server)

      const refused = await browser.signUp("ada@example.com")
      expect(refused.status).toBe(503)
      expect(refused.headers.get("retry-after")).toBe("5")
      expect(await refused.json()).toMatchObject({ code: "UNAVAILABLE" })
      expect(await server.reachable()).toBe(false)

      await relay.start()
      expect((await browser.signUp("ada@example.com")).status).toBe(200)
      const session = await browser.session()
      expect(await server.reachable()).toBe(true)

      await relay.stop() // connections break while they are idle
      expect((await browser.call("GET", "/get-session")).status).toBe(503)
      expect((await browser.call("GET", "/token")).status).toBe(503)
      expect((await browser.signIn("ada@example.com")).status).toBe(503)
      const refusedToEnd = await browser.post("/sign-out")
      expect(refusedToEnd.status).toBe(503)
      expect(refusedToEnd.headers.getSetCookie()).toEqual([])

      await relay.start()
      expect(await browser.session()).toEqual(session)
      expect((await browser.post("/sign-out")).status).toBe(200)
      expect(await browser.session()).toBeUndefined()
      await relay.stop()
    })
  },
)
