import type { AuthContext } from "better-auth"
import { decodeJwt, decodeProtectedHeader, jwtVerify } from "jose"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { TaskService } from "@/testing/taskService"
import { hasNoData } from "./api-data"
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
let ada: Browser

const deleteAccount = () => ada.post("/delete-user", { password: PASSWORD })

async function count(model: "user" | "session"): Promise<number> {
  return (await (await trial.server.ready()).$context).adapter.count({ model })
}

async function deletionRows(): Promise<{ user_id: string }[]> {
  return trial.server.database.kysely.selectFrom("account_deletion").select("user_id").execute()
}

async function letFinalErasureBeDue(): Promise<void> {
  await trial.server.database.kysely.updateTable("account_deletion").set({ erase_at: 0 }).execute()
}

/** The requests that the API has received, in order. */
function calls(): string[] {
  return trial.api.requests.map(({ method, path }) => `${method} ${path.replace(/\/api\/\w+/, "data")}`)
}

const LOGOUT = "POST /backchannel-logout"

describe.each(DIALECTS)("deleting an account, on %s", (dialect) => {
  beforeEach(async () => {
    trial = await openTrial(dialect)
    ada = trial.browser()
    await ada.signUp("ada@example.com")
  })

  it("ends every session at the API, then erases, then looks whether anything is left", async () => {
    await trial.browser().signIn("ada@example.com")
    trial.api.tasks = 3
    expect((await deleteAccount()).status).toBe(200)
    expect(calls()).toEqual(["GET data/stats", LOGOUT, LOGOUT, "DELETE data", "GET data/stats"])
    expect(await count("user")).toBe(0)
    expect(await count("session")).toBe(0)
  })

  it("uses tokens of that user that live for a minute and name no session", async () => {
    const userId = (await ada.session())?.userId
    expect((await deleteAccount()).status).toBe(200)
    const token = trial.api.erasures[0] ?? ""
    const secret = new TextEncoder().encode(SECRET)
    const { payload } = await jwtVerify(token, secret, { issuer: ORIGIN, audience: ORIGIN })
    expect(decodeProtectedHeader(token)).toEqual({ alg: "HS256" })
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sub"])
    expect(payload.sub).toBe(userId)
    expect(Number(payload.exp) - Number(payload.iat)).toBe(60)
  })

  it("asks for nothing when the password is wrong", async () => {
    expect((await ada.post("/delete-user", { password: "not the password" })).status).toBe(400)
    expect(trial.api.requests).toEqual([])
  })

  it("erases again while data arrives", async () => {
    trial.api.afterErasure = () => {
      if (trial.api.erasures.length < 3) trial.api.tasks = 1
    }
    expect((await deleteAccount()).status).toBe(200)
    expect(trial.api.erasures).toHaveLength(3)
    expect(await count("user")).toBe(0)
  })

  it("gives up after five erasures, and keeps the account", async () => {
    trial.api.afterErasure = () => (trial.api.tasks = 1)
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "SIGNED_OUT_TASKS_NOT_ERASED" })
    expect(trial.api.erasures).toHaveLength(5)
    expect(await count("user")).toBe(1)
    expect(await count("session")).toBe(0)
    expect(await deletionRows()).toEqual([])
  })

  it("changes nothing while the API cannot be reached, and works later", async () => {
    await trial.browser().signIn("ada@example.com")
    await trial.api.stop()
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "TASKS_NOT_ERASED" })
    expect(await count("session")).toBe(2)
    expect(await deletionRows()).toEqual([])
    expect(await ada.session()).toBeDefined()
    await trial.api.start()
    expect((await deleteAccount()).status).toBe(200)
    expect(await ada.session()).toBeUndefined()
  })

  it.each([
    ["takes no logout token", () => (trial.api.answer = 503)],
    ["refuses the logout token", () => (trial.api.answer = 400)],
    ["does not erase", () => (trial.api.erased = 503)],
  ])("keeps the account, signed out everywhere, when the API %s", async (_, fail) => {
    const sid = await ada.sid()
    fail()
    const refused = await deleteAccount()
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "SIGNED_OUT_TASKS_NOT_ERASED" })
    expect(trial.api.sids).toContain(sid)
    expect(await count("session")).toBe(0)
    expect(await count("user")).toBe(1)
    if (trial.api.answer !== 200) expect(trial.api.erasures).toEqual([])
    trial.api.answer = 200
    trial.api.erased = 204
    expect((await ada.signIn("ada@example.com")).status).toBe(200)
    expect((await deleteAccount()).status).toBe(200)
    expect(await count("user")).toBe(0)
  })

  it("delivers the notices of earlier sign-outs before it erases", async () => {
    const other = trial.browser()
    await other.signIn("ada@example.com")
    const sid = await other.sid()
    trial.api.answer = 503
    await other.post("/sign-out")
    trial.api.answer = 200
    expect((await deleteAccount()).status).toBe(200)
    expect(trial.api.sids.filter((one) => one === sid)).toHaveLength(2)
    expect(calls().slice(-2)).toEqual(["DELETE data", "GET data/stats"])
  })

  it("lets nobody sign in to the account meanwhile, at any process", async () => {
    const statuses: number[] = []
    let signIns: Promise<void> = Promise.resolve()
    const sibling = trial.sibling()
    await sibling.ready()
    trial.api.afterErasure = () => {
      if (trial.api.erasures.length > 1) return
      trial.api.tasks = 1 // so that another round follows, and the sign-ins are answered before the deletion
      signIns = (async () => {
        for (const server of [trial.server, sibling])
          statuses.push((await trial.browser(server).signIn("ada@example.com")).status)
      })()
    }
    expect((await deleteAccount()).status).toBe(200)
    await signIns
    expect(statuses).toEqual([401, 401])
    expect(await count("session")).toBe(0)
  })

  it("erases once more a minute later, by any process, until the API has done it", async () => {
    const userId = (await ada.session())?.userId ?? ""
    await deleteAccount()
    await trial.server.deletions.eraseDue()
    expect(trial.api.erasures).toHaveLength(1) // not due
    expect(await deletionRows()).toEqual([{ user_id: userId }])
    const sibling = trial.sibling()
    await sibling.ready()
    trial.api.erased = 503
    await letFinalErasureBeDue()
    await expect(sibling.deletions.eraseDue()).rejects.toThrow("503")
    expect(await deletionRows()).toEqual([{ user_id: userId }])
    trial.api.erased = 204
    await letFinalErasureBeDue()
    await Promise.all([trial.server.deletions.eraseDue(), sibling.deletions.eraseDue()])
    expect(trial.api.erasures).toHaveLength(3)
    expect(decodeJwt(trial.api.erasures[2] ?? "").sub).toBe(userId)
    expect(await deletionRows()).toEqual([])
  })

  it("that was cut off by a crash blocks sign-ins for a minute, and erases nothing of an account that stays", async () => {
    const user_id = (await ada.session())?.userId ?? ""
    const row = { user_id, erase_at: Date.now() + 60_000 }
    await trial.server.database.kysely.insertInto("account_deletion").values(row).execute()
    expect((await trial.browser().signIn("ada@example.com")).status).toBe(401)
    await letFinalErasureBeDue()
    expect((await trial.browser().signIn("ada@example.com")).status).toBe(200)
    await trial.server.deletions.eraseDue()
    expect(await deletionRows()).toEqual([])
    expect(trial.api.erasures).toEqual([])
  })
})

describe("with the real API", () => {
  const api = new TaskService({ BETTER_AUTH_SECRET: SECRET, JWT_ISSUER: ORIGIN, JWT_AUDIENCE: ORIGIN })
  let working = true

  afterEach(() => api.stop())

  /** Create tasks with a token, as fast as the API answers, until `working` is false; return the statuses. */
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

  it("leaves nothing of writers that go on with copied tokens during the deletion", async () => {
    await api.start()
    trial = await openTrial("sqlite", { API_URL: `http://127.0.0.1:${api.port}` })
    ada = trial.browser()
    await ada.signUp("ada@example.com")
    const other = trial.browser()
    await other.signIn("ada@example.com")
    const tokens = [await ada.token(), await other.token()]
    const writers = tokens.map(write)
    await vi.waitFor(async () => expect(await left(tokens[0] ?? "")).toBeGreaterThan(0), 5000)
    expect((await deleteAccount()).status).toBe(200)
    working = false
    for (const statuses of await Promise.all(writers)) expect(statuses).toEqual(new Set([201, 401]))
    const { sub = "" } = decodeJwt(tokens[0] ?? "")
    const context = (await (await trial.server.ready()).$context) as unknown as AuthContext
    expect(await hasNoData(context, trial.settings, sub)).toBe(true)
  })

  async function left(token: string): Promise<number> {
    const { sub = "" } = decodeJwt(token)
    const response = await fetch(`http://127.0.0.1:${api.port}/api/${sub}/tasks`, {
      headers: { authorization: `Bearer ${token}` },
    })
    return ((await response.json()) as unknown[]).length
  }
})
