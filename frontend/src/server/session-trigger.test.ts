import { sql } from "kysely"
import { describe, expect, it, vi } from "vitest"
import {
  DIALECTS,
  openAuthEnvironment,
  PASSWORD,
  setUpAuthTests,
  type AuthEnvironment,
  type Browser,
} from "@/testing/authFixture"
import { failStatement } from "@/testing/statementFaults"

setUpAuthTests()

const NEW_PASSWORD = "another password"

let env: AuthEnvironment
let ada: Browser
let email: string
let userId: string

/** Sign up a new user with three sessions, one of which is the browser's; return the session ids. */
async function signUp(): Promise<string[]> {
  ada = env.browser()
  email = `ada-${crypto.randomUUID()}@example.com`
  expect((await ada.signUp(email)).status).toBe(200)
  userId = (await ada.session())?.userId ?? ""
  const { internalAdapter } = await (await env.server.ready()).$context
  for (let count = 0; count < 2; count++) await internalAdapter.createSession(userId)
  return sessions()
}

async function open(dialect: string): Promise<string[]> {
  env = await openAuthEnvironment(dialect)
  return signUp()
}

/** Return the ids of the user's sessions. */
async function sessions(): Promise<string[]> {
  const { adapter } = await (await env.server.ready()).$context
  const where = [{ field: "userId", value: userId }]
  return (await adapter.findMany<{ id: string }>({ model: "session", where })).map(({ id }) => id).sort()
}

async function pending(): Promise<string[]> {
  const rows = await env.server.database.kysely.selectFrom("logout_notice").select("sid").execute()
  return rows.map(({ sid }) => sid).sort()
}

async function otherToken(): Promise<string> {
  const { adapter } = await (await env.server.ready()).$context
  const own = await ada.sid()
  const where = [{ field: "userId", value: userId }]
  const all = await adapter.findMany<{ id: string; token: string }>({ model: "session", where })
  return all.find(({ id }) => id !== own)?.token ?? ""
}

async function resetToken(): Promise<string> {
  vi.mocked(console.info).mockClear()
  await ada.post("/request-password-reset", { email })
  const printed = vi.mocked(console.info).mock.calls.flat().join("\n")
  return /reset-password\?token=(\w+)/.exec(printed)?.[1] ?? ""
}

async function expireSessions(): Promise<void> {
  const { adapter } = await (await env.server.ready()).$context
  await adapter.updateMany({
    model: "session",
    where: [],
    update: { expiresAt: new Date(Date.now() - 1000) },
  })
}

/** Return the last session id in sort order: the same session at each call. */
async function lastSession(): Promise<string> {
  return (await sessions()).at(-1) ?? ""
}

type Way = {
  name: string
  ends: number
  prepare?: () => Promise<string | void>
  run: (given: string) => Promise<Response>
}

/** Every request that deletes sessions. */
const WAYS: Way[] = [
  { name: "sign-out", ends: 1, run: () => ada.post("/sign-out") },
  {
    name: "revoking one",
    ends: 1,
    prepare: otherToken,
    run: (token) => ada.post("/revoke-session", { token }),
  },
  { name: "revoking all", ends: 3, run: () => ada.post("/revoke-sessions") },
  { name: "revoking all others", ends: 2, run: () => ada.post("/revoke-other-sessions") },
  {
    name: "a password change that revokes the others",
    ends: 3,
    run: () =>
      ada.post("/change-password", {
        currentPassword: PASSWORD,
        newPassword: NEW_PASSWORD,
        revokeOtherSessions: true,
      }),
  },
  {
    name: "a password reset",
    ends: 3,
    prepare: resetToken,
    run: (token) => ada.post("/reset-password", { token, newPassword: NEW_PASSWORD }),
  },
  {
    name: "account deletion",
    ends: 3,
    run: () => ada.post("/delete-user", { password: PASSWORD }),
  },
  {
    name: "the cleanup of an expired session",
    ends: 1,
    prepare: expireSessions,
    run: () => ada.call("GET", "/get-session"),
  },
]

/** The requests that only end sessions. */
const REQUESTED = WAYS.slice(0, 4)

const CASES = DIALECTS.flatMap((dialect) => WAYS.map((way) => ({ dialect, way, name: way.name })))

describe.each(CASES)("on $dialect, $name", ({ dialect, way }) => {
  it(
    "deletes no session without a logout notice, whichever statement about sessions fails",
    { timeout: 120_000 },
    async () => {
      await open(dialect)
      for (let nth = 1; ; nth++) {
        const all = await signUp()
        const given = (await way.prepare?.()) ?? ""
        // The API rejects all logout tokens, so every notice must be pending. Account deletion needs their delivery.
        env.api.logoutStatus = way.name === "account deletion" ? 200 : 503
        const fault = failStatement(/"session"|logout_notice/, nth)
        const response = await way.run(given)
        fault.end()
        const accounted = [...(await sessions()), ...(await pending()), ...env.api.sids]
        expect(accounted).toEqual(expect.arrayContaining(all))
        if (!fault.happened()) {
          expect(response.status).toBe(200)
          expect(nth).toBeGreaterThan(2)
          break
        }
      }
    },
  )

  it("deletes no session when the logout notice cannot be inserted", async () => {
    const all = await open(dialect)
    const given = (await way.prepare?.()) ?? ""
    await env.server.database.kysely.schema.dropTable("logout_notice").execute()
    expect((await way.run(given)).status).toBe(503)
    expect(await sessions()).toEqual(all)
    expect(env.api.logoutTokens).toEqual([])
  })

  it("leaves the logout notices to other processes when this one is killed right after the deletion", async () => {
    const all = await open(dialect)
    const given = (await way.prepare?.()) ?? ""
    vi.spyOn(env.server.outbox, "sessionEnded").mockResolvedValue()
    expect((await way.run(given)).status).toBe(200)
    const alive = await sessions()
    const ended = all.filter((sid) => !alive.includes(sid))
    expect(ended).toHaveLength(way.ends)
    const sibling = env.openSecondServer()
    await sibling.ready()
    await env.server.database.kysely.updateTable("logout_notice").set({ next_at: 0 }).execute()
    await sibling.outbox.deliverDue()
    expect(env.api.sids).toEqual(ended)
    expect(await pending()).toEqual([])
  })
})

const READS = DIALECTS.flatMap((dialect) => REQUESTED.map((way) => ({ dialect, way, name: way.name })))

describe.each(READS)("on $dialect, $name", ({ dialect, way }) => {
  it("responds with 503, ends no session and keeps the cookie when a read of sessions fails", async () => {
    const all = await open(dialect)
    const given = (await way.prepare?.()) ?? ""
    for (let nth = 1; ; nth++) {
      const fault = failStatement(/^select .* from "session"/, nth)
      const response = await way.run(given)
      fault.end()
      if (!fault.happened()) {
        expect(response.status).toBe(200)
        expect(nth).toBeGreaterThan(2)
        break
      }
      expect(response.status).toBe(503)
      expect(response.headers.getSetCookie()).toEqual([])
      // The third read of a sign-out checks whether the session was deleted.
      if (way.name === "sign-out" && nth === 3) return
      expect(await sessions()).toEqual(all)
      expect(await pending()).toEqual([])
    }
  })
})

describe.each(DIALECTS)("the trigger, on %s", (dialect) => {
  it("records sessions that a manual statement or the cascade from a user deletes", async () => {
    const [first = "", ...others] = await open(dialect)
    const { kysely } = env.server.database
    await sql`delete from "session" where "id" = ${first}`.execute(kysely)
    expect(await pending()).toEqual([first])
    await sql`delete from "user"`.execute(kysely)
    expect(await sessions()).toEqual([])
    expect(await pending()).toEqual([first, ...others])
  })

  it("records nothing when the deletion is rolled back", async () => {
    const all = await open(dialect)
    const failing = env.server.database.kysely.transaction().execute(async (transaction) => {
      await sql`delete from "session"`.execute(transaction)
      throw new Error("rolled back")
    })
    await expect(failing).rejects.toThrow("rolled back")
    expect(await sessions()).toEqual(all)
    expect(await pending()).toEqual([])
  })

  it("records no session whose tokens have all expired", async () => {
    await open(dialect)
    const { adapter } = await (await env.server.ready()).$context
    const lifetime = 7 * 24 * 60 * 60 * 1000
    const ended = (ago: number) => ({ expiresAt: new Date(Date.now() - lifetime + ago) })
    await adapter.updateMany({ model: "session", where: [], update: ended(-1000) })
    await adapter.update({
      model: "session",
      where: [{ field: "id", value: await lastSession() }],
      update: ended(60_000),
    })
    const recent = await lastSession()
    await adapter.deleteMany({ model: "session", where: [] })
    expect(await pending()).toEqual([recent])
  })

  it("is replaced at startup with another TOKEN_LIFETIME only", async () => {
    await open(dialect)
    await env.openSecondServer().ready()
    await env.openSecondServer({ TOKEN_LIFETIME: "1h" }).ready()
    const now = Date.now()
    await sql`delete from "session"`.execute(env.server.database.kysely)
    const [row] = await env.server.database.kysely.selectFrom("logout_notice").selectAll().execute()
    const kept = Number(row?.forget_at) - now
    expect(kept).toBeGreaterThan(60 * 60 * 1000)
    expect(kept).toBeLessThan(62 * 60 * 1000)
    expect(Number(row?.next_at) - now).toBeLessThan(10_000)
  })
})
