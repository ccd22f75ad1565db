import { beforeEach, describe, expect, it, vi } from "vitest"
import {
  DIALECTS,
  openAuthEnvironment,
  PASSWORD,
  setUpAuthTests,
  type AuthEnvironment,
} from "@/testing/authFixture"
import { failStatement } from "@/testing/statementFaults"

setUpAuthTests()

const EMAIL = "ada@example.com"
const NEW_PASSWORD = "the password of the reset"
const ATTACKERS_PASSWORD = "the password of the attacker"

let env: AuthEnvironment
/** The ids of all sessions that were ever created. */
let created: string[]

async function openWithUser(dialect: string): Promise<void> {
  env = await openAuthEnvironment(dialect)
  await env.browser().signUp(EMAIL)
  created = await sessions()
  const { adapter } = await internals()
  const create = adapter.create.bind(adapter)
  vi.spyOn(adapter, "create").mockImplementation(async (row) => {
    const stored = await create(row)
    if (row.model === "session") created.push(String(stored.id))
    return stored as never
  })
}

async function internals() {
  return (await env.server.ready()).$context
}

async function sessions(): Promise<string[]> {
  const { adapter } = await internals()
  return (await adapter.findMany<{ id: string }>({ model: "session" })).map(({ id }) => id)
}

async function resetToken(): Promise<string> {
  await env.browser().post("/request-password-reset", { email: EMAIL })
  const printed = vi.mocked(console.info).mock.calls.flat().join("\n")
  return /reset-password\?token=(\w+)/.exec(printed)?.[1] ?? ""
}

async function reset(token: string): Promise<void> {
  const response = await env.browser().post("/reset-password", { token, newPassword: NEW_PASSWORD })
  expect(response.status).toBe(200)
}

type Step = "createSession" | "updateAccount"

/** Make the next call of a method of Better Auth's internal adapter wait until `resume` is called. */
async function pauseBefore(step: Step): Promise<{ reached: Promise<void>; resume: () => void }> {
  const { internalAdapter } = await internals()
  const original = internalAdapter[step].bind(internalAdapter) as (...args: unknown[]) => Promise<never>
  let arrive = () => {}
  let resume = () => {}
  const reached = new Promise<void>((resolve) => (arrive = resolve))
  const resumed = new Promise<void>((resolve) => (resume = resolve))
  vi.spyOn(internalAdapter, step).mockImplementationOnce(async (...args: unknown[]) => {
    arrive()
    await resumed
    return original(...args)
  })
  return { reached, resume: () => resume() }
}

/** Change the password, run a password reset before the given step of the change, and return the status of the change. */
async function changePasswordDuringReset(step: Step): Promise<number> {
  const browser = env.browser()
  await browser.signIn(EMAIL)
  const token = await resetToken()
  const pause = await pauseBefore(step)
  const change = browser.post("/change-password", {
    currentPassword: PASSWORD,
    newPassword: ATTACKERS_PASSWORD,
    revokeOtherSessions: true,
  })
  await pause.reached
  await reset(token)
  pause.resume()
  return (await change).status
}

/** Expect that the API has received one logout token for each session that was created and deleted. */
async function expectNotices(): Promise<void> {
  const alive = await sessions()
  const ended = created.filter((sid) => !alive.includes(sid)).sort()
  await vi.waitFor(() => expect(env.api.sids).toEqual(ended), 15_000)
}

describe.each(DIALECTS)("a password reset, on %s", (dialect) => {
  beforeEach(() => openWithUser(dialect))

  it("leaves no session of twelve concurrent sign-ins", { timeout: 40_000 }, async () => {
    const token = await resetToken()
    const browsers = Array.from({ length: 12 }, () => env.browser())
    // Start first, so that the reset deletes the sessions while most sign-ins still verify the password.
    const resetting = reset(token)
    const responses = await Promise.all(browsers.map((browser) => browser.signIn(EMAIL)))
    await resetting
    for (const response of responses) expect([200, 401]).toContain(response.status)
    // Delivers the logout notice of a session that the reset deleted without having read it.
    env.server.outbox.start()
    expect(await sessions()).toEqual([])
    await expectNotices()
  })

  it("ends the session of a sign-in that verified the old password before it", async () => {
    const token = await resetToken()
    const browser = env.browser()
    const pause = await pauseBefore("createSession")
    const signIn = browser.signIn(EMAIL)
    await pause.reached
    await reset(token)
    pause.resume()
    const response = await signIn
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({ code: "INVALID_EMAIL_OR_PASSWORD" })
    expect(response.headers.getSetCookie()).toEqual([])
    expect(await browser.session()).toBeUndefined()
    expect(await sessions()).toEqual([])
    expect(created).toHaveLength(2)
    await expectNotices()
  })

  it("is not overwritten by a change that verified the old password before it", async () => {
    expect(await changePasswordDuringReset("updateAccount")).toBe(400)
    expect(await sessions()).toEqual([])
    expect((await env.browser().signIn(EMAIL, ATTACKERS_PASSWORD)).status).toBe(401)
    expect((await env.browser().signIn(EMAIL, NEW_PASSWORD)).status).toBe(200)
  })

  it("ends the session of a change that stored its password before it", async () => {
    expect(await changePasswordDuringReset("createSession")).toBe(401)
    expect(await sessions()).toEqual([])
    await expectNotices()
  })

  it("prevents an account deletion that verified the old password before it", async () => {
    const browser = env.browser()
    await browser.signIn(EMAIL)
    const token = await resetToken()
    const prepare = env.server.deletions.prepare.bind(env.server.deletions)
    vi.spyOn(env.server.deletions, "prepare").mockImplementationOnce(async (userId) => {
      await reset(token)
      return prepare(userId)
    })
    expect((await browser.post("/delete-user", { password: PASSWORD })).status).toBe(400)
    expect(env.api.erasureTokens).toEqual([])
    expect((await env.browser().signIn(EMAIL, NEW_PASSWORD)).status).toBe(200)
  })
})

describe.each(DIALECTS)("a password change, on %s", (dialect) => {
  beforeEach(() => openWithUser(dialect))

  it("ends the session of a sign-in that verified the old password before it", async () => {
    const owner = env.browser()
    await owner.signIn(EMAIL)
    const browser = env.browser()
    const pause = await pauseBefore("createSession")
    const signIn = browser.signIn(EMAIL)
    await pause.reached
    const change = { currentPassword: PASSWORD, newPassword: NEW_PASSWORD }
    expect((await owner.post("/change-password", change)).status).toBe(200)
    pause.resume()
    expect((await signIn).status).toBe(401)
    expect(await owner.session()).toBeDefined()
    await expectNotices()
  })
})

describe.each(DIALECTS)("a sign-in, on %s", (dialect) => {
  beforeEach(() => openWithUser(dialect))

  it("sets no cookie when the credential cannot be read again", async () => {
    const fault = failStatement(/^select .* from "account" where/)
    const response = await env.browser().signIn(EMAIL)
    fault.end()
    expect(fault.happened()).toBe(true)
    expect(response.status).toBe(503)
    expect(response.headers.getSetCookie()).toEqual([])
  })
})
