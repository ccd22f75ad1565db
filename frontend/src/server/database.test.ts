import { stat } from "node:fs/promises"
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { sql } from "kysely"
import { Client } from "pg"
import { describe, expect, it } from "vitest"
import { DIALECTS, openAuthEnvironment, setUpAuthTests, type AuthEnvironment } from "@/testing/authFixture"

setUpAuthTests()

let env: AuthEnvironment

describe.each(DIALECTS)("a database, on %s", (dialect) => {
  it("is migrated at startup, also by concurrent processes", async () => {
    env = await openAuthEnvironment(dialect, { TOKEN_MODE: "key-pair" })
    const all = [env.server, ...Array.from({ length: 4 }, () => env.openSecondServer())]
    await Promise.all(all.map((server) => server.ready()))
    expect(await env.server.database.kysely.selectFrom("logout_notice").selectAll().execute()).toEqual([])
    const { adapter } = await (await env.server.ready()).$context
    const keys = await adapter.findMany({ model: "jwks" })
    // On one SQLite file, concurrent processes can create a key pair each at their first start; all are published.
    if (dialect === "postgresql") expect(keys).toHaveLength(1)
    else expect(keys).not.toHaveLength(0)
  })

  it("is unchanged after a second startup", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const again = env.openSecondServer()
    await again.ready()
    expect(await again.isDatabaseReachable()).toBe(true)
    expect(await browser.session()).toBeDefined()
  })
})

describe("a SQLite file", () => {
  it("is in WAL mode and readable by its owner only", async () => {
    env = await openAuthEnvironment("sqlite")
    await env.browser().signUp("ada@example.com")
    const { rows } = await sql`pragma journal_mode`.execute(env.server.database.kysely)
    expect(rows).toEqual([{ journal_mode: "wal" }])
    const file = env.databaseUrl.replace("file:", "")
    for (const one of [file, `${file}-wal`, `${file}-shm`]) expect((await stat(one)).mode & 0o077).toBe(0)
  })
})

/** TCP proxy to PostgreSQL that can be stopped and started. */
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

describe.each(DIALECTS.filter((dialect) => dialect === "postgresql"))("a database server, %s", (dialect) => {
  it("can be unavailable at startup and later: 503 meanwhile, then normal responses again", async () => {
    env = await openAuthEnvironment(dialect)
    const { host, port, database, user, password } = new Client({ connectionString: env.databaseUrl })
    const relay = new Relay({ host, port })
    await relay.start()
    await relay.stop()
    const account = `${user ?? ""}:${encodeURIComponent(password ?? "")}`
    const url = `postgresql://${account}@127.0.0.1:${relay.port}/${database}`
    const server = env.openSecondServer({ AUTH_DATABASE_URL: url })
    const browser = env.browser(server)

    const refused = await browser.signUp("ada@example.com")
    expect(refused.status).toBe(503)
    expect(refused.headers.get("retry-after")).toBe("5")
    expect(await refused.json()).toMatchObject({ code: "UNAVAILABLE" })
    expect(await server.isDatabaseReachable()).toBe(false)

    await relay.start()
    expect((await browser.signUp("ada@example.com")).status).toBe(200)
    const session = await browser.session()
    expect(await server.isDatabaseReachable()).toBe(true)

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
})
