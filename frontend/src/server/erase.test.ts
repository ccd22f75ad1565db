import { decodeProtectedHeader, jwtVerify } from "jose"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { DIALECTS, openTrial, ORIGIN, PASSWORD, SECRET, type Browser, type Trial } from "./trial"

let trial: Trial
let ada: Browser

describe.each(DIALECTS)("deleting an account, on %s", (dialect) => {
  beforeEach(async () => {
    trial = await openTrial(dialect)
    ada = trial.browser()
    await ada.signUp("ada@example.com")
    vi.spyOn(console, "error").mockImplementation(() => {})
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await trial.close()
  })

  it("erases the tasks first, with a token of that person that lives for a minute and names no session", async () => {
    const userId = (await ada.session())?.userId
    expect((await ada.post("/delete-user", { password: PASSWORD })).status).toBe(200)

    expect(trial.api.erasures).toHaveLength(1)
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
    expect(trial.api.erasures).toEqual([])
  })

  it("keeps the account, and all its sessions, when the tasks cannot be erased, and works later", async () => {
    trial.api.erased = 503
    const refused = await ada.post("/delete-user", { password: PASSWORD })
    expect(refused.status).toBe(503)
    expect(await refused.json()).toMatchObject({ code: "TASKS_NOT_ERASED" })
    expect(await ada.session()).toBeDefined()

    await trial.api.stop()
    expect((await ada.post("/delete-user", { password: PASSWORD })).status).toBe(503)
    expect(await ada.session()).toBeDefined()

    await trial.api.start()
    trial.api.erased = 204
    expect((await ada.post("/delete-user", { password: PASSWORD })).status).toBe(200)
    expect(await ada.session()).toBeUndefined()
  })
})
