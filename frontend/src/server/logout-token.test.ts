import { createLocalJWKSet, decodeJwt, jwtVerify, type JSONWebKeySet, type JWTPayload } from "jose"
import { beforeEach, describe, expect, it, vi } from "vitest"
import {
  DIALECTS,
  openTrial,
  ORIGIN,
  PASSWORD,
  SECRET,
  setUpAuthTests,
  type Browser,
  type Trial,
} from "@/testing/authFixture"

setUpAuthTests()

let trial: Trial

/** One person, signed in on several devices. */
async function devices(count: number, email = "ada@example.com"): Promise<[Browser, ...Browser[]]> {
  const first = trial.browser()
  expect((await first.signUp(email)).status).toBe(200)
  const others = Array.from({ length: count - 1 }, () => trial.browser())
  for (const other of others) expect((await other.signIn(email)).status).toBe(200)
  return [first, ...others]
}

async function sids(browsers: Browser[]): Promise<string[]> {
  return (await Promise.all(browsers.map((browser) => browser.sid()))).sort()
}

async function waiting(): Promise<{ sid: string; attempts: number; next_at: number; forget_at: number }[]> {
  const rows = await trial.server.database.kysely.selectFrom("logout_notice").selectAll().execute()
  return rows.map((row) => ({ ...row, next_at: Number(row.next_at), forget_at: Number(row.forget_at) }))
}

function expectNotice(payload: JWTPayload, typ: string | undefined, sid: string, sub: string): void {
  expect(typ).toBe("logout+jwt")
  expect(Object.keys(payload).sort()).toEqual(["aud", "events", "exp", "iat", "iss", "jti", "sid", "sub"])
  expect(payload).toMatchObject({ sid, sub, iss: ORIGIN, aud: ORIGIN })
  expect(payload.events).toEqual({ "http://schemas.openid.net/event/backchannel-logout": {} })
  expect(Number(payload.exp) - Number(payload.iat)).toBe(120)
  expect(Math.abs(Number(payload.iat) - Date.now() / 1000)).toBeLessThan(5)
}

describe.each(DIALECTS)("the notice of a sign-out, on %s", (dialect) => {
  it("is a logout token in a form, signed with the shared secret", async () => {
    trial = await openTrial(dialect)
    const [browser] = await devices(1)
    const session = await browser.session()
    expect((await browser.post("/sign-out")).status).toBe(200)

    expect(trial.api.requests).toEqual([
      {
        method: "POST",
        path: "/backchannel-logout",
        contentType: "application/x-www-form-urlencoded;charset=UTF-8",
      },
    ])
    const { payload, protectedHeader } = await jwtVerify(
      trial.api.notices[0] ?? "",
      new TextEncoder().encode(SECRET),
    )
    expect(protectedHeader.alg).toBe("HS256")
    expectNotice(payload, protectedHeader.typ, session?.id ?? "", session?.userId ?? "")
    expect(await waiting()).toEqual([])
  })

  it("is signed with the current key pair, where there is one", async () => {
    trial = await openTrial(dialect, { TOKEN_MODE: "key-pair" })
    const [browser] = await devices(1)
    const session = await browser.session()
    const jwks = (await (await browser.call("GET", "/jwks")).json()) as JSONWebKeySet
    await browser.post("/sign-out")
    const { payload, protectedHeader } = await jwtVerify(trial.api.notices[0] ?? "", createLocalJWKSet(jwks))
    expect(protectedHeader).toMatchObject({ alg: "EdDSA", kid: jwks.keys[0]?.kid })
    expectNotice(payload, protectedHeader.typ, session?.id ?? "", session?.userId ?? "")
  })
})

describe.each(DIALECTS)("each session that ends causes one notice, on %s", (dialect) => {
  beforeEach(async () => {
    trial = await openTrial(dialect)
  })

  it("signing out", async () => {
    const [first, second] = await devices(2)
    const gone = await first.sid()
    await first.post("/sign-out")
    expect(trial.api.sids).toEqual([gone])
    expect(await second?.session()).toBeDefined()
  })

  it("revoking one", async () => {
    const [first, second] = await devices(3)
    const gone = await second?.session()
    expect((await first.post("/revoke-session", { token: gone?.token })).status).toBe(200)
    expect(trial.api.sids).toEqual([gone?.id])
  })

  it("revoking all others", async () => {
    const [first, ...others] = await devices(3)
    const gone = await sids(others)
    expect((await first.post("/revoke-other-sessions")).status).toBe(200)
    expect(trial.api.sids).toEqual(gone)
    expect(await first.session()).toBeDefined()
  })

  it("revoking all", async () => {
    const all = await devices(2)
    const gone = await sids(all)
    expect((await all[0].post("/revoke-sessions")).status).toBe(200)
    expect(trial.api.sids).toEqual(gone)
  })

  it("changing the password, with all others or without", async () => {
    const all = await devices(2)
    const change = { currentPassword: PASSWORD, newPassword: "another password" }
    expect((await all[0].post("/change-password", change)).status).toBe(200)
    expect(trial.api.sids).toEqual([])
    const gone = await sids(all)
    const again = {
      currentPassword: "another password",
      newPassword: "a third one",
      revokeOtherSessions: true,
    }
    expect((await all[0].post("/change-password", again)).status).toBe(200)
    // The one at hand is replaced by a new one as well.
    expect(trial.api.sids).toEqual(gone)
    expect(gone).not.toContain(await all[0].sid())
    expect(await all[1]?.session()).toBeUndefined()
  })

  it("resetting the password", async () => {
    const all = await devices(2)
    const gone = await sids(all)
    const stranger = trial.browser()
    await stranger.post("/request-password-reset", { email: "ada@example.com" })
    const printed = vi.mocked(console.info).mock.calls.flat().join("\n")
    const [, token] = /http:\/\/tasks\.test\/reset-password\?token=(\w+)/.exec(printed) ?? []
    const reset = await stranger.post("/reset-password", { token, newPassword: "another password" })
    expect(reset.status).toBe(200)
    expect(trial.api.sids).toEqual(gone)
    expect((await stranger.signIn("ada@example.com")).status).toBe(401)
    expect((await stranger.signIn("ada@example.com", "another password")).status).toBe(200)
    expect((await stranger.post("/reset-password", { token, newPassword: "once more" })).status).toBe(400)
  })

  it("deleting the account, which takes the password", async () => {
    const all = await devices(2)
    await devices(1, "grace@example.com")
    const gone = await sids(all)
    expect((await all[0].post("/delete-user", { password: "not the password" })).status).toBe(400)
    expect(trial.api.sids).toEqual([])
    expect((await all[0].post("/delete-user", { password: PASSWORD })).status).toBe(200)
    expect(trial.api.sids).toEqual(gone)
    expect((await trial.browser().signIn("ada@example.com")).status).toBe(401)
  })

  it("more sessions than Better Auth looks up by default", async () => {
    const [browser] = await devices(1)
    const userId = (await browser.session())?.userId ?? ""
    const { adapter } = await (await trial.server.ready()).$context
    const now = new Date()
    const times = { createdAt: now, updatedAt: now, expiresAt: new Date(now.getTime() + 60_000) }
    for (let count = 0; count < 120; count++)
      await adapter.create({ model: "session", data: { ...times, userId, token: crypto.randomUUID() } })
    await browser.post("/revoke-sessions")
    await vi.waitFor(() => expect(new Set(trial.api.sids).size).toBe(121), 5000)
    expect(trial.api.notices).toHaveLength(121)
  })

  it("nothing for a wrong password, a second sign-out, or a session whose tokens have all expired", async () => {
    const [browser] = await devices(1)
    await trial.browser().signIn("ada@example.com", "not the password")
    await browser.post("/sign-out")
    await browser.post("/sign-out")
    expect(trial.api.notices).toHaveLength(1)
    const longAgo = new Date(Date.now() - 8 * 24 * 60 * 60 * 1000)
    const { adapter, internalAdapter } = await (await trial.server.ready()).$context
    const [user] = await adapter.findMany<{ id: string }>({ model: "user" })
    const old = await internalAdapter.createSession(user?.id ?? "")
    await adapter.updateMany({ model: "session", where: [], update: { expiresAt: longAgo } })
    await internalAdapter.deleteSession(old.token)
    expect(await waiting()).toEqual([])
    expect(trial.api.notices).toHaveLength(1)
  })
})

describe.each(DIALECTS)("an API that does not take the notice, on %s", (dialect) => {
  beforeEach(async () => {
    trial = await openTrial(dialect)
  })

  it("away: kept, and delivered once when it is back, signed anew for each try", async () => {
    const [browser] = await devices(1)
    const sid = await browser.sid()
    trial.api.answer = 503
    expect((await browser.post("/sign-out")).status).toBe(200)
    expect(await waiting()).toMatchObject([{ sid, attempts: 1 }])
    trial.server.outbox.start()
    await vi.waitFor(() => expect(trial.api.notices.length).toBeGreaterThan(1), 5000)
    await trial.api.stop()
    await vi.waitFor(async () => expect((await waiting())[0]?.attempts).toBe(3), 8000)
    trial.api.answer = 200
    await trial.api.start()
    await vi.waitFor(async () => expect(await waiting()).toEqual([]), 10_000)
    const settled = trial.api.notices.length
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(trial.api.notices).toHaveLength(settled)
    expect(new Set(trial.api.sids)).toEqual(new Set([sid]))
    const jtis = trial.api.notices.map((notice) => decodeJwt(notice).jti)
    expect(new Set(jtis).size).toBe(jtis.length)
  })

  it("away for another process: any process delivers what is left", async () => {
    const [browser] = await devices(1)
    await trial.api.stop()
    await browser.post("/sign-out")
    await trial.api.start()
    const sibling = trial.sibling()
    await sibling.ready()
    sibling.outbox.start()
    await vi.waitFor(() => expect(trial.api.notices).toHaveLength(1), 8000)
    await vi.waitFor(async () => expect(await waiting()).toEqual([]))
  })

  it("several processes at once send each notice once", async () => {
    const all = await devices(6)
    await trial.api.stop()
    await all[0].post("/revoke-sessions")
    await trial.api.start()
    await trial.server.database.kysely.updateTable("logout_notice").set({ next_at: 0 }).execute()
    const siblings = [trial.server, trial.sibling(), trial.sibling(), trial.sibling()]
    for (const sibling of siblings) await sibling.ready()
    await Promise.all(siblings.map((sibling) => sibling.outbox.deliverDue()))
    expect(trial.api.notices).toHaveLength(6)
    expect(await waiting()).toEqual([])
  })

  it("refusing: kept, said in the log, tried slowly", async () => {
    const [browser] = await devices(1)
    trial.api.answer = 400
    expect((await browser.post("/sign-out")).status).toBe(200)
    const [notice] = await waiting()
    expect(notice?.next_at).toBeGreaterThan(Date.now() + 50_000)
    expect(vi.mocked(console.error).mock.calls.flat().join("\n")).toContain(
      "The API refuses a sign-out (400 this is what the API says)",
    )
    await trial.server.outbox.deliverDue()
    expect(trial.api.notices).toHaveLength(1)
  })

  it("hanging: the sign-out is answered all the same, however many sessions end", async () => {
    const all = await devices(4)
    trial.api.answer = "hang"
    const began = performance.now()
    expect((await all[0].post("/revoke-other-sessions")).status).toBe(200)
    expect((await all[0].post("/sign-out")).status).toBe(200)
    expect(performance.now() - began).toBeLessThan(8_000) // one after the other they would take as long
    expect(await waiting()).toHaveLength(4)
    expect(await all[0].session()).toBeUndefined()
  })

  it("for longer than a token lives: the notice is forgotten", async () => {
    const [browser] = await devices(1)
    trial.api.answer = 503
    const before = Date.now()
    await browser.post("/sign-out")
    const lifetime = (7 * 24 * 60 * 60 + 60) * 1000
    const [notice] = await waiting()
    expect(notice?.forget_at).toBeGreaterThanOrEqual(before + lifetime)
    expect(notice?.forget_at).toBeLessThan(Date.now() + lifetime + 1)
    await trial.server.database.kysely.updateTable("logout_notice").set({ forget_at: Date.now() }).execute()
    await trial.server.outbox.deliverDue()
    expect(await waiting()).toEqual([])
    expect(trial.api.notices).toHaveLength(1)
  })
})
