import { describe, expect, it, vi } from "vitest"
import { MAX_SESSIONS } from "./sessions"
import { DIALECTS, openTrial, setUpAuthTests, type Trial } from "@/testing/authFixture"

setUpAuthTests()

let trial: Trial

describe.each(DIALECTS)("the sessions of a user, on %s", (dialect) => {
  it("are at most MAX_SESSIONS: a further one ends the oldest, with a notice", async () => {
    trial = await openTrial(dialect)
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    const oldest = await browser.sid()
    const userId = (await browser.session())?.userId ?? ""
    const { adapter, internalAdapter } = await (await trial.server.ready()).$context
    for (let count = 1; count < MAX_SESSIONS; count++) await internalAdapter.createSession(userId)
    expect(await adapter.count({ model: "session" })).toBe(MAX_SESSIONS)
    expect(await browser.session()).toBeDefined()
    const other = trial.browser()
    expect((await other.signIn("ada@example.com")).status).toBe(200)
    expect(await adapter.count({ model: "session" })).toBe(MAX_SESSIONS)
    expect(await browser.session()).toBeUndefined()
    expect(await other.session()).toBeDefined()
    await vi.waitFor(() => expect(trial.api.sids).toEqual([oldest]))
  })
})
