import { createLocalJWKSet, decodeJwt, jwtVerify, type JSONWebKeySet, type JWTPayload } from "jose"
import { beforeEach, describe, expect, it, vi } from "vitest"
import {
  DIALECTS,
  openAuthEnvironment,
  ORIGIN,
  PASSWORD,
  SECRET,
  setUpAuthTests,
  type AuthEnvironment,
  type Browser,
} from "@/testing/authFixture"

setUpAuthTests()

let env: AuthEnvironment

/** Sign up a user and sign in with further browsers; return all browsers. */
async function devices(count: number, email = "ada@example.com"): Promise<[Browser, ...Browser[]]> {
  const first = env.browser()
  expect((await first.signUp(email)).status).toBe(200)
  const others = Array.from({ length: count - 1 }, () => env.browser())
  for (const other of others) expect((await other.signIn(email)).status).toBe(200)
  return [first, ...others]
}

async function sids(browsers: Browser[]): Promise<string[]> {
  return (await Promise.all(browsers.map((browser) => browser.sid()))).sort()
}

async function waiting(): Promise<{ sid: string; attempts: number; next_at: number; forget_at: number }[]> {
  const rows = await env.server.database.kysely.selectFrom("logout_notice").selectAll().execute()
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

describe.each(DIALECTS)("the logout token of a sign-out, on %s", (dialect) => {
  it("is sent as a form parameter and signed with the shared secret", async () => {
    env = await openAuthEnvironment(dialect)
    const [browser] = await devices(1)
    const session = await browser.session()
    expect((await browser.post("/sign-out")).status).toBe(200)

    expect(env.api.requests).toEqual([
      {
        method: "POST",
        path: "/backchannel-logout",
        contentType: "application/x-www-form-urlencoded;charset=UTF-8",
      },
    ])
    const { payload, protectedHeader } = await jwtVerify(
      env.api.logoutTokens[0] ?? "",
      new TextEncoder().encode(SECRET),
    )
    expect(protectedHeader.alg).toBe("HS256")
    expectNotice(payload, protectedHeader.typ, session?.id ?? "", session?.userId ?? "")
    expect(await waiting()).toEqual([])
  })

  it("continues the trace of the browser's request, and begins one for a request without", async () => {
    env = await openAuthEnvironment(dialect)
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for (const headers of [{ traceparent: `00-${trace}-00f067aa0ba902b7-01` }, {}]) {
      const browser = env.browser(undefined, headers)
      expect((await browser.signUp(`${Object.keys(headers).length}@example.com`)).status).toBe(200)
      expect((await browser.post("/sign-out")).status).toBe(200)
    }
    const [continued, begun] = env.api.traceparents
    expect(continued).toMatch(new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`))
    expect(begun).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(begun).not.toContain(trace)
  })

  it("is sent below the path of the API's URL", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser(
      env.openSecondServer({
        API_INTERNAL_URL: `${env.api.url}/tasks-api`,
        API_URL: "http://unused.example",
      }),
    )
    expect((await browser.signUp("ada@example.com")).status).toBe(200)
    expect((await browser.post("/sign-out")).status).toBe(200)
    expect(env.api.requests.map(({ path }) => path)).toEqual(["/tasks-api/backchannel-logout"])
  })

  it("is signed with the current key pair in key-pair mode", async () => {
    env = await openAuthEnvironment(dialect, { TOKEN_MODE: "key-pair" })
    const [browser] = await devices(1)
    const session = await browser.session()
    const jwks = (await (await browser.call("GET", "/jwks")).json()) as JSONWebKeySet
    await browser.post("/sign-out")
    const { payload, protectedHeader } = await jwtVerify(
      env.api.logoutTokens[0] ?? "",
      createLocalJWKSet(jwks),
    )
    expect(protectedHeader).toMatchObject({ alg: "EdDSA", kid: jwks.keys[0]?.kid })
    expectNotice(payload, protectedHeader.typ, session?.id ?? "", session?.userId ?? "")
  })
})

describe.each(DIALECTS)("each ended session sends one logout token, on %s", (dialect) => {
  beforeEach(async () => {
    env = await openAuthEnvironment(dialect)
  })

  it("signing out", async () => {
    const [first, second] = await devices(2)
    const gone = await first.sid()
    await first.post("/sign-out")
    expect(env.api.sids).toEqual([gone])
    expect(await second?.session()).toBeDefined()
  })

  it("revoking one", async () => {
    const [first, second] = await devices(3)
    const gone = await second?.session()
    expect((await first.post("/revoke-session", { token: gone?.token })).status).toBe(200)
    expect(env.api.sids).toEqual([gone?.id])
  })

  it("revoking all others", async () => {
    const [first, ...others] = await devices(3)
    const gone = await sids(others)
    expect((await first.post("/revoke-other-sessions")).status).toBe(200)
    expect(env.api.sids).toEqual(gone)
    expect(await first.session()).toBeDefined()
  })

  it("revoking all", async () => {
    const all = await devices(2)
    const gone = await sids(all)
    expect((await all[0].post("/revoke-sessions")).status).toBe(200)
    expect(env.api.sids).toEqual(gone)
  })

  it("changing the password, with and without revokeOtherSessions", async () => {
    const all = await devices(2)
    const change = { currentPassword: PASSWORD, newPassword: "another password" }
    expect((await all[0].post("/change-password", change)).status).toBe(200)
    expect(env.api.sids).toEqual([])
    const gone = await sids(all)
    const again = {
      currentPassword: "another password",
      newPassword: "a third one",
      revokeOtherSessions: true,
    }
    expect((await all[0].post("/change-password", again)).status).toBe(200)
    // The session of the request is replaced by a new one as well.
    expect(env.api.sids).toEqual(gone)
    expect(gone).not.toContain(await all[0].sid())
    expect(await all[1]?.session()).toBeUndefined()
  })

  it("resetting the password", async () => {
    const all = await devices(2)
    const gone = await sids(all)
    const stranger = env.browser()
    await stranger.post("/request-password-reset", { email: "ada@example.com" })
    const printed = vi.mocked(console.info).mock.calls.flat().join("\n")
    const [, token] = /http:\/\/tasks\.test\/reset-password\?token=(\w+)/.exec(printed) ?? []
    const reset = await stranger.post("/reset-password", { token, newPassword: "another password" })
    expect(reset.status).toBe(200)
    expect(env.api.sids).toEqual(gone)
    expect((await stranger.signIn("ada@example.com")).status).toBe(401)
    expect((await stranger.signIn("ada@example.com", "another password")).status).toBe(200)
    expect((await stranger.post("/reset-password", { token, newPassword: "once more" })).status).toBe(400)
  })

  it("deleting the account, which requires the password", async () => {
    const all = await devices(2)
    await devices(1, "grace@example.com")
    const gone = await sids(all)
    expect((await all[0].post("/delete-user", { password: "not the password" })).status).toBe(400)
    expect(env.api.sids).toEqual([])
    expect((await all[0].post("/delete-user", { password: PASSWORD })).status).toBe(200)
    expect(env.api.sids).toEqual(gone)
    expect((await env.browser().signIn("ada@example.com")).status).toBe(401)
  })

  it("ending more sessions than Better Auth reads by default", async () => {
    const [browser] = await devices(1)
    const userId = (await browser.session())?.userId ?? ""
    const { adapter } = await (await env.server.ready()).$context
    const now = new Date()
    const times = { createdAt: now, updatedAt: now, expiresAt: new Date(now.getTime() + 60_000) }
    for (let count = 0; count < 120; count++)
      await adapter.create({ model: "session", data: { ...times, userId, token: crypto.randomUUID() } })
    await browser.post("/revoke-sessions")
    await vi.waitFor(() => expect(new Set(env.api.sids).size).toBe(121), 5000)
    expect(env.api.logoutTokens).toHaveLength(121)
  })

  it("no token for a wrong password, a second sign-out, or a session whose tokens have all expired", async () => {
    const [browser] = await devices(1)
    await env.browser().signIn("ada@example.com", "not the password")
    await browser.post("/sign-out")
    await browser.post("/sign-out")
    expect(env.api.logoutTokens).toHaveLength(1)
    const longAgo = new Date(Date.now() - 8 * 24 * 60 * 60 * 1000)
    const { adapter, internalAdapter } = await (await env.server.ready()).$context
    const [user] = await adapter.findMany<{ id: string }>({ model: "user" })
    const old = await internalAdapter.createSession(user?.id ?? "")
    await adapter.updateMany({ model: "session", where: [], update: { expiresAt: longAgo } })
    await internalAdapter.deleteSession(old.token)
    expect(await waiting()).toEqual([])
    expect(env.api.logoutTokens).toHaveLength(1)
  })
})

describe.each(DIALECTS)("an API that does not accept the logout token, on %s", (dialect) => {
  beforeEach(async () => {
    env = await openAuthEnvironment(dialect)
  })

  it("unavailable: the notice is kept, retried with a new token each time, and delivered once", async () => {
    const [browser] = await devices(1)
    const sid = await browser.sid()
    env.api.logoutStatus = 503
    expect((await browser.post("/sign-out")).status).toBe(200)
    expect(await waiting()).toMatchObject([{ sid, attempts: 1 }])
    env.server.outbox.start()
    await vi.waitFor(() => expect(env.api.logoutTokens.length).toBeGreaterThan(1), 5000)
    await env.api.stop()
    await vi.waitFor(async () => expect((await waiting())[0]?.attempts).toBe(3), 8000)
    env.api.logoutStatus = 200
    await env.api.start()
    await vi.waitFor(async () => expect(await waiting()).toEqual([]), 10_000)
    const settled = env.api.logoutTokens.length
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(env.api.logoutTokens).toHaveLength(settled)
    expect(new Set(env.api.sids)).toEqual(new Set([sid]))
    const jtis = env.api.logoutTokens.map((notice) => decodeJwt(notice).jti)
    expect(new Set(jtis).size).toBe(jtis.length)
  })

  it("unavailable when the session ended: any process delivers the pending notice", async () => {
    const [browser] = await devices(1)
    await env.api.stop()
    await browser.post("/sign-out")
    await env.api.start()
    const sibling = env.openSecondServer()
    await sibling.ready()
    sibling.outbox.start()
    await vi.waitFor(() => expect(env.api.logoutTokens).toHaveLength(1), 8000)
    await vi.waitFor(async () => expect(await waiting()).toEqual([]))
  })

  it("unavailable: concurrent processes send each pending notice once", async () => {
    const all = await devices(6)
    await env.api.stop()
    await all[0].post("/revoke-sessions")
    await env.api.start()
    await env.server.database.kysely.updateTable("logout_notice").set({ next_at: 0 }).execute()
    const siblings = [env.server, env.openSecondServer(), env.openSecondServer(), env.openSecondServer()]
    for (const sibling of siblings) await sibling.ready()
    await Promise.all(siblings.map((sibling) => sibling.outbox.deliverDue()))
    expect(env.api.logoutTokens).toHaveLength(6)
    expect(await waiting()).toEqual([])
  })

  it("refusing: the notice is kept, logged as an error and retried after a minute", async () => {
    const [browser] = await devices(1)
    env.api.logoutStatus = 400
    expect((await browser.post("/sign-out")).status).toBe(200)
    const [notice] = await waiting()
    expect(notice?.next_at).toBeGreaterThan(Date.now() + 50_000)
    expect(vi.mocked(console.error).mock.calls.flat().join("\n")).toContain(
      "The API refuses a logout token (400 the body of the API's response)",
    )
    await env.server.outbox.deliverDue()
    expect(env.api.logoutTokens).toHaveLength(1)
  })

  it("hanging: the sign-out gets its response, however many sessions end", async () => {
    const all = await devices(4)
    env.api.logoutStatus = "hang"
    const began = performance.now()
    expect((await all[0].post("/revoke-other-sessions")).status).toBe(200)
    expect((await all[0].post("/sign-out")).status).toBe(200)
    expect(performance.now() - began).toBeLessThan(8_000) // sequential deliveries would take 4 times 2 s
    expect(await waiting()).toHaveLength(4)
    expect(await all[0].session()).toBeUndefined()
  })

  it("unavailable for longer than the token lifetime: the notice is deleted", async () => {
    const [browser] = await devices(1)
    env.api.logoutStatus = 503
    const before = Date.now()
    await browser.post("/sign-out")
    const lifetime = (7 * 24 * 60 * 60 + 60) * 1000
    const [notice] = await waiting()
    expect(notice?.forget_at).toBeGreaterThanOrEqual(before + lifetime)
    expect(notice?.forget_at).toBeLessThan(Date.now() + lifetime + 1)
    await env.server.database.kysely.updateTable("logout_notice").set({ forget_at: Date.now() }).execute()
    await env.server.outbox.deliverDue()
    expect(await waiting()).toEqual([])
    expect(env.api.logoutTokens).toHaveLength(1)
  })
})
