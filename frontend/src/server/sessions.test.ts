import { describe, expect, it, vi } from "vitest"
import { DIALECTS, openAuthEnvironment, setUpAuthTests, type AuthEnvironment } from "@/testing/authFixture"
import { MAX_SESSIONS } from "./sessions"

setUpAuthTests()

let env: AuthEnvironment

describe.each(DIALECTS)("the sessions of a user, on %s", (dialect) => {
  it("are at most MAX_SESSIONS: a further one ends the oldest and sends its logout token", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const oldest = await browser.sid()
    const userId = (await browser.session())?.userId ?? ""
    const { adapter, internalAdapter } = await (await env.server.ready()).$context
    for (let count = 1; count < MAX_SESSIONS; count++) await internalAdapter.createSession(userId)
    expect(await adapter.count({ model: "session" })).toBe(MAX_SESSIONS)
    expect(await browser.session()).toBeDefined()
    const other = env.browser()
    expect((await other.signIn("ada@example.com")).status).toBe(200)
    expect(await adapter.count({ model: "session" })).toBe(MAX_SESSIONS)
    expect(await browser.session()).toBeUndefined()
    expect(await other.session()).toBeDefined()
    await vi.waitFor(() => expect(env.api.sids).toEqual([oldest]))
  })
})
