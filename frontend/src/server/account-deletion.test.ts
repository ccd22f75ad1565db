import type { AuthContext } from "better-auth"
import { decodeJwt, decodeProtectedHeader, jwtVerify } from "jose"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
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
import { TaskService } from "@/testing/taskService"
import { hasNoData } from "./api-data"

setUpAuthTests()

let env: AuthEnvironment
let ada: Browser

const deleteAccount = () => ada.post("/delete-user", { password: PASSWORD })

async function count(model: "user" | "session"): Promise<number> {
  return (await (await env.server.ready()).$context).adapter.count({ model })
}

async function deletionRows(): Promise<{ user_id: string }[]> {
  return env.server.database.kysely.selectFrom("account_deletion").select("user_id").execute()
}

async function makeFinalErasureDue(): Promise<void> {
  await env.server.database.kysely.updateTable("account_deletion").set({ erase_at: 0 }).execute()
}

/** Return the requests that the API has received, in order. */
function calls(): string[] {
  return env.api.requests.map(({ method, path }) => `${method} ${path.replace(/\/api\/\w+/, "data")}`)
}

const LOGOUT = "POST /backchannel-logout"

describe.each(DIALECTS)("deleting an account, on %s", (dialect) => {
  beforeEach(async () => {
    env = await openAuthEnvironment(dialect)
    ada = env.browser()
    await ada.signUp("ada@example.com")
  })

  it("ends every session at the API, then erases, then checks that no data is left", async () => {
    await env.browser().signIn("ada@example.com")
    env.api.taskCount = 3
    expect((await deleteAccount()).status).toBe(200)
    expect(calls()).toEqual(["GET data/stats", LOGOUT, LOGOUT, "DELETE data", "GET data/stats"])
    expect(await count("user")).toBe(0)
    expect(await count("session")).toBe(0)
  })

  it("uses access tokens of the user that expire after a minute and have no sid", async () => {
    const userId = (await ada.session())?.userId
    expect((await deleteAccount()).status).toBe(200)
    const token = env.api.erasureTokens[0] ?? ""
    const secret = new TextEncoder().encode(SECRET)
    const { payload } = await jwtVerify(token, secret, { issuer: ORIGIN, audience: ORIGIN })
    expect(decodeProtectedHeader(token)).toEqual({ alg: "HS256" })
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sub"])
    expect(payload.sub).toBe(userId)
    expect(Number(payload.exp) - Number(payload.iat)).toBe(60)
  })

  it("sends no request to the API when the password is wrong", async () => {
    expect((await ada.post("/delete-user", { password: "not the password" })).status).toBe(400)
    expect(env.api.requests).toEqual([])
  })

  it("erases again while data arrives", async () => {
    env.api.afterErasure = () => {
      if (env.api.erasureTokens.length < 3) env.api.taskCount = 1
    }
    expect((await deleteAccount()).status).toBe(200)
    expect(env.api.erasureTokens).toHaveLength(3)
    expect(await count("user")).toBe(0)
  })

  it("fails after five erasures, and keeps the account", async () => {
    env.api.afterErasure = () => (env.api.taskCount = 1)
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "SIGNED_OUT_TASKS_NOT_ERASED" })
    expect(env.api.erasureTokens).toHaveLength(5)
    expect(await count("user")).toBe(1)
    expect(await count("session")).toBe(0)
    expect(await deletionRows()).toEqual([])
  })

  it("changes nothing while the API is unreachable, and succeeds later", async () => {
    await env.browser().signIn("ada@example.com")
    await env.api.stop()
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "TASKS_NOT_ERASED" })
    expect(await count("session")).toBe(2)
    expect(await deletionRows()).toEqual([])
    expect(await ada.session()).toBeDefined()
    await env.api.start()
    expect((await deleteAccount()).status).toBe(200)
    expect(await ada.session()).toBeUndefined()
  })

  it.each([
    ["accepts no logout token", () => (env.api.logoutStatus = 503)],
    ["refuses the logout token", () => (env.api.logoutStatus = 400)],
    ["does not erase", () => (env.api.erasureStatus = 503)],
  ])("keeps the account, signed out everywhere, when the API %s", async (_, fail) => {
    const sid = await ada.sid()
    fail()
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "SIGNED_OUT_TASKS_NOT_ERASED" })
    expect(env.api.sids).toContain(sid)
    expect(await count("session")).toBe(0)
    expect(await count("user")).toBe(1)
    if (env.api.logoutStatus !== 200) expect(env.api.erasureTokens).toEqual([])
    env.api.logoutStatus = 200
    env.api.erasureStatus = 204
    expect((await ada.signIn("ada@example.com")).status).toBe(200)
    expect((await deleteAccount()).status).toBe(200)
    expect(await count("user")).toBe(0)
  })

  it("delivers the notices of earlier sign-outs before it erases", async () => {
    const other = env.browser()
    await other.signIn("ada@example.com")
    const sid = await other.sid()
    env.api.logoutStatus = 503
    await other.post("/sign-out")
    env.api.logoutStatus = 200
    expect((await deleteAccount()).status).toBe(200)
    expect(env.api.sids.filter((one) => one === sid)).toHaveLength(2)
    expect(calls().slice(-2)).toEqual(["DELETE data", "GET data/stats"])
  })

  it("rejects sign-ins to the account meanwhile, in every process", async () => {
    const statuses: number[] = []
    const sibling = env.openSecondServer()
    await sibling.ready()
    env.api.afterErasure = async () => {
      for (const server of [env.server, sibling])
        statuses.push((await env.browser(server).signIn("ada@example.com")).status)
    }
    expect((await deleteAccount()).status).toBe(200)
    expect(statuses).toEqual([401, 401])
    expect(await count("session")).toBe(0)
  })

  it("runs a final erasure a minute later, in any process, until the API has done it", async () => {
    const userId = (await ada.session())?.userId ?? ""
    await deleteAccount()
    await env.server.deletions.runDueErasures()
    expect(env.api.erasureTokens).toHaveLength(1) // not due
    expect(await deletionRows()).toEqual([{ user_id: userId }])
    const sibling = env.openSecondServer()
    await sibling.ready()
    env.api.erasureStatus = 503
    await makeFinalErasureDue()
    await expect(sibling.deletions.runDueErasures()).rejects.toThrow("503")
    expect(await deletionRows()).toEqual([{ user_id: userId }])
    env.api.erasureStatus = 204
    await makeFinalErasureDue()
    await Promise.all([env.server.deletions.runDueErasures(), sibling.deletions.runDueErasures()])
    expect(env.api.erasureTokens).toHaveLength(3)
    expect(decodeJwt(env.api.erasureTokens[2] ?? "").sub).toBe(userId)
    expect(await deletionRows()).toEqual([])
  })

  it("blocks sign-ins for a minute after a crash, and erases no data of an account that still exists", async () => {
    const user_id = (await ada.session())?.userId ?? ""
    const row = { user_id, erase_at: Date.now() + 60_000 }
    await env.server.database.kysely.insertInto("account_deletion").values(row).execute()
    expect((await env.browser().signIn("ada@example.com")).status).toBe(401)
    await makeFinalErasureDue()
    expect((await env.browser().signIn("ada@example.com")).status).toBe(200)
    await env.server.deletions.runDueErasures()
    expect(await deletionRows()).toEqual([])
    expect(env.api.erasureTokens).toEqual([])
  })
})

describe("with the real API", () => {
  const api = new TaskService({ BETTER_AUTH_SECRET: SECRET, JWT_ISSUER: ORIGIN, JWT_AUDIENCE: ORIGIN })
  let working = true

  afterEach(() => api.stop())

  /** Create tasks with a token in a loop until `working` is false; return the statuses of the responses. */
  async function write(token: string): Promise<Set<number>> {
    const statuses = new Set<number>()
    const { sub = "" } = decodeJwt(token)
    while (working) {
      const response = await fetch(`http://127.0.0.1:${api.port}/api/${sub}/tasks`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ title: "written during the deletion" }),
      })
      statuses.add(response.status)
      await response.text()
    }
    return statuses
  }

  it(
    "leaves no data of clients that write with copied tokens during the deletion",
    { timeout: 90_000 },
    async () => {
      await api.start()
      env = await openAuthEnvironment("sqlite", { API_URL: `http://127.0.0.1:${api.port}` })
      ada = env.browser()
      await ada.signUp("ada@example.com")
      const other = env.browser()
      await other.signIn("ada@example.com")
      const tokens = [await ada.token(), await other.token()]
      const writers = tokens.map(write)
      await vi.waitFor(async () => expect(await countTasks(tokens[0] ?? "")).toBeGreaterThan(0), 5000)
      expect((await deleteAccount()).status).toBe(200)
      working = false
      for (const statuses of await Promise.all(writers)) expect(statuses).toEqual(new Set([201, 401]))
      const { sub = "" } = decodeJwt(tokens[0] ?? "")
      const context = (await (await env.server.ready()).$context) as unknown as AuthContext
      expect(await hasNoData(context, env.settings, sub)).toBe(true)
    },
  )

  async function countTasks(token: string): Promise<number> {
    const { sub = "" } = decodeJwt(token)
    const response = await fetch(`http://127.0.0.1:${api.port}/api/${sub}/tasks`, {
      headers: { authorization: `Bearer ${token}` },
    })
    return ((await response.json()) as unknown[]).length
  }
})
