import { describe, expect, it } from "vitest"
import {
  Browser,
  openAuthEnvironment,
  ORIGIN,
  PASSWORD,
  setUpAuthTests,
  type AuthEnvironment,
} from "@/testing/authFixture"

setUpAuthTests()

let env: AuthEnvironment

describe("accounts", () => {
  it("need a password of eight characters and an unused email address", async () => {
    env = await openAuthEnvironment("sqlite")
    const browser = env.browser()
    const short = await browser.post("/sign-up/email", {
      name: "A",
      email: "a@example.com",
      password: "1234567",
    })
    expect(short.status).toBe(400)
    expect((await browser.signUp("a@example.com")).status).toBe(200)
    expect((await browser.signUp("A@Example.com")).status).toBe(422)
  })

  it("cannot be created with SIGN_UP=closed", async () => {
    env = await openAuthEnvironment("sqlite", { SIGN_UP: "closed" })
    expect((await env.browser().signUp("ada@example.com")).status).toBe(400)
  })

  it.each(["a fresh", "an old"])("are not deleted without the password in %s session", async (age) => {
    env = await openAuthEnvironment("sqlite")
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const { adapter } = await (await env.server.ready()).$context
    const createdAt = new Date(Date.now() - 2 * 24 * 60 * 60 * 1000)
    if (age === "an old") await adapter.updateMany({ model: "session", where: [], update: { createdAt } })
    for (const body of [undefined, {}, { password: "" }, { password: null }, { token: "x" }])
      expect((await browser.post("/delete-user", body)).status).toBe(400)
    expect(env.api.erasureTokens).toEqual([])
    // A session that is not fresh can still list sessions, in order to end them.
    expect((await browser.call("GET", "/list-sessions")).status).toBe(200)
    expect((await browser.post("/delete-user", { password: PASSWORD })).status).toBe(200)
  })
})

describe("requests", () => {
  it.each(["https://evil.example", undefined])(
    "from the origin %s cannot use the session cookie",
    async (origin) => {
      env = await openAuthEnvironment("sqlite")
      const browser = env.browser()
      const signedUp = await browser.signUp("ada@example.com")
      const cookie = signedUp.headers.getSetCookie().map((line) => line.split(";")[0])
      const response = await env.server.handle(
        new Request(`${ORIGIN}/api/auth/sign-out`, {
          method: "POST",
          headers: { cookie: cookie.join("; "), ...(origin ? { origin } : {}) },
        }),
      )
      expect(response.status).toBe(403)
      expect(await browser.session()).toBeDefined()
    },
  )

  it.each([
    ["http://tasks.test", false],
    ["https://tasks.test", true],
  ])("at %s get HttpOnly cookies", async (url, secure) => {
    env = await openAuthEnvironment("sqlite", { BETTER_AUTH_URL: url })
    const response = await env.server.handle(
      new Request(`${url}/api/auth/sign-up/email`, {
        method: "POST",
        headers: { "content-type": "application/json", origin: url },
        body: JSON.stringify({ name: "Ada", email: "ada@example.com", password: PASSWORD }),
      }),
    )
    const cookie = response.headers.getSetCookie().find((line) => line.includes("session_token"))
    expect(cookie).toMatch(/HttpOnly/)
    expect(cookie).toMatch(/SameSite=Lax/)
    expect(cookie?.includes("; Secure")).toBe(secure)
  })
})

describe("a password reset request", () => {
  it("gets the same response for known and unknown email addresses", async () => {
    env = await openAuthEnvironment("sqlite")
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const known = await browser.post("/request-password-reset", { email: "ada@example.com" })
    const unknown = await browser.post("/request-password-reset", { email: "nobody@example.com" })
    expect([known.status, await known.text()]).toEqual([unknown.status, await unknown.text()])
  })

  it("is rejected in production without SMTP", async () => {
    env = await openAuthEnvironment("sqlite", { NODE_ENV: "production" })
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const response = await browser.post("/request-password-reset", { email: "ada@example.com" })
    expect(await response.json()).toMatchObject({ code: "RESET_PASSWORD_DISABLED" })
    expect(console.info).not.toHaveBeenCalled()
  })
})

describe("the rate limit of sign-ins", () => {
  async function tries(count: number, headers: Record<string, string> = {}): Promise<number[]> {
    const statuses: number[] = []
    for (let attempt = 0; attempt < count; attempt++) {
      const browser = new Browser(env.server, headers)
      statuses.push((await browser.signIn("nobody@example.com", "not the password")).status)
    }
    return statuses
  }

  it("counts by the address in CLIENT_IP_HEADER", async () => {
    env = await openAuthEnvironment("sqlite", { AUTH_RATE_LIMIT: "on", CLIENT_IP_HEADER: "X-Real-IP" })
    expect(await tries(4, { "x-real-ip": "192.0.2.1" })).toEqual([401, 401, 401, 429])
    expect(await tries(1, { "x-real-ip": "192.0.2.2" })).toEqual([401])
    // X-Forwarded-For, which clients can set, is ignored.
    expect(await tries(1, { "x-real-ip": "192.0.2.1", "x-forwarded-for": "192.0.2.3" })).toEqual([429])
  })

  it("does not let one client lock out all others without CLIENT_IP_HEADER", async () => {
    env = await openAuthEnvironment("sqlite", { AUTH_RATE_LIMIT: "on" })
    expect(await tries(10, { "x-forwarded-for": "192.0.2.1" })).toEqual(Array(10).fill(401))
  })

  it("is off with AUTH_RATE_LIMIT=off", async () => {
    const environment = { AUTH_RATE_LIMIT: "off", CLIENT_IP_HEADER: "x-real-ip", NODE_ENV: "production" }
    env = await openAuthEnvironment("sqlite", environment)
    expect(await tries(5, { "x-real-ip": "192.0.2.1" })).toEqual(Array(5).fill(401))
  })
})
