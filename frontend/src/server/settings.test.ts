import path from "node:path"
import { describe, expect, it } from "vitest"
import { readSettings, SettingsError, type Environment } from "./settings"

const ENOUGH = {
  BETTER_AUTH_SECRET: "a-secret-for-tests-only-0123456789abcdef",
  BETTER_AUTH_URL: "http://localhost:3000",
  API_URL: "http://localhost:8000",
}

function problems(environment: Environment): readonly string[] {
  try {
    readSettings(environment)
  } catch (error) {
    if (error instanceof SettingsError) return error.problems
    throw error
  }
  return []
}

describe("settings", () => {
  it("have safe defaults", () => {
    expect(readSettings(ENOUGH)).toEqual({
      production: false,
      secret: ENOUGH.BETTER_AUTH_SECRET,
      url: "http://localhost:3000",
      apiUrl: "http://localhost:8000",
      apiInternalUrl: "http://localhost:8000",
      database: { kind: "file", path: path.resolve("data/auth.db") },
      tokenMode: "shared-secret",
      tokenLifetime: 604_800,
      keyRotation: undefined,
      audience: "http://localhost:3000",
      smtp: undefined,
      clientIpHeader: undefined,
      signUpOpen: true,
      rateLimit: false,
    })
    expect(readSettings({ ...ENOUGH, TOKEN_MODE: "key-pair" }).tokenLifetime).toBe(900)
    expect(readSettings({ ...ENOUGH, NODE_ENV: "production" }).rateLimit).toBe(true)
  })

  it("do not trim the secret, and reject the development secret in production", () => {
    const secret = ` ${ENOUGH.BETTER_AUTH_SECRET} `
    expect(readSettings({ ...ENOUGH, BETTER_AUTH_SECRET: secret }).secret).toBe(secret)
    const development = {
      ...ENOUGH,
      BETTER_AUTH_SECRET: "taskapi-development-secret-never-use-in-production",
    }
    expect(problems(development)).toEqual([])
    expect(problems({ ...development, NODE_ENV: "production" })).toEqual([
      "BETTER_AUTH_SECRET is the development secret of taskapi, which is public.",
    ])
  })

  it("read every variable", () => {
    expect(
      readSettings({
        NODE_ENV: "production",
        BETTER_AUTH_SECRET: ENOUGH.BETTER_AUTH_SECRET,
        BETTER_AUTH_URL: "https://tasks.example.com/",
        API_URL: "https://api.example.com",
        API_INTERNAL_URL: "http://api:8000",
        AUTH_DATABASE_URL: "postgresql://me@db/accounts",
        TOKEN_MODE: "key-pair",
        TOKEN_LIFETIME: "90s",
        KEY_ROTATION: "90d",
        JWT_AUDIENCE: "tasks",
        SMTP_URL: "smtps://mail.example.com",
        MAIL_FROM: "Tasks <tasks@example.com>",
        CLIENT_IP_HEADER: "X-Real-IP",
        SIGN_UP: "closed",
        AUTH_RATE_LIMIT: "off",
      }),
    ).toMatchObject({
      production: true,
      url: "https://tasks.example.com",
      apiInternalUrl: "http://api:8000",
      database: { kind: "postgresql", url: "postgresql://me@db/accounts" },
      tokenLifetime: 90,
      keyRotation: 7_776_000,
      audience: "tasks",
      smtp: { url: "smtps://mail.example.com", from: "Tasks <tasks@example.com>" },
      clientIpHeader: "x-real-ip",
      signUpOpen: false,
      rateLimit: false,
    })
  })

  it("count an empty variable as absent", () => {
    const empty = { AUTH_DATABASE_URL: "", TOKEN_MODE: " ", TOKEN_LIFETIME: "", SMTP_URL: "", SIGN_UP: "" }
    expect(readSettings({ ...ENOUGH, ...empty })).toEqual(readSettings(ENOUGH))
    expect(problems({ ...ENOUGH, API_URL: "" })).toEqual(["API_URL is missing."])
  })

  it("report all problems in one error", () => {
    const wrong = {
      BETTER_AUTH_SECRET: "short",
      BETTER_AUTH_URL: "https://tasks.example.com/app",
      API_URL: "localhost:8000",
      AUTH_DATABASE_URL: "mysql://db",
      TOKEN_MODE: "magic",
      TOKEN_LIFETIME: "7",
      KEY_ROTATION: "90d",
      SMTP_URL: "http://mail",
      CLIENT_IP_HEADER: "X Real",
      SIGN_UP: "maybe",
      AUTH_RATE_LIMIT: "1",
    }
    const found = problems(wrong)
    const named = [...Object.keys(wrong), "MAIL_FROM"]
    expect(found.map((problem) => problem.split(" ")[0]).sort()).toEqual(named.sort())
    expect(new SettingsError(found).message).toContain("  - API_URL must be a URL")
    expect(found.join()).not.toContain("short") // an error message never contains a secret
  })

  it("accept a path in the URLs of the API, and nothing after it", () => {
    const { apiUrl, apiInternalUrl } = readSettings({
      ...ENOUGH,
      API_URL: "https://Example.com/tasks-api/",
      API_INTERNAL_URL: "http://api:8000/tasks-api",
    })
    expect([apiUrl, apiInternalUrl]).toEqual(["https://example.com/tasks-api", "http://api:8000/tasks-api"])
    for (const API_URL of [
      "https://example.com/tasks-api?x=1",
      "https://example.com/#x",
      "https://me@example.com/tasks-api",
      "ftp://example.com/tasks-api",
    ])
      expect(problems({ ...ENOUGH, API_URL })).toEqual([
        "API_URL must be a URL such as https://api.example.com or https://example.com/tasks-api.",
      ])
  })

  it("reject the default secret of Better Auth", () => {
    const BETTER_AUTH_SECRET = "better-auth-secret-12345678901234567890"
    expect(problems({ ...ENOUGH, BETTER_AUTH_SECRET })).toEqual([
      "BETTER_AUTH_SECRET is the public default of Better Auth.",
    ])
  })

  it.each([
    ["file:/srv/auth.db", "/srv/auth.db"],
    ["file:///srv/auth.db", "/srv/auth.db"],
    ["file:here/auth.db", path.resolve("here/auth.db")],
    ["file:/srv/with 100% in it.db", "/srv/with 100% in it.db"],
  ])("accept the database file %s", (url, file) => {
    expect(readSettings({ ...ENOUGH, AUTH_DATABASE_URL: url }).database).toEqual({ kind: "file", path: file })
  })

  it.each(["file::memory:", "file:", "file://host/auth.db", "auth.db", "postgresql://"])(
    "reject the database %s",
    (url) => {
      expect(problems({ ...ENOUGH, AUTH_DATABASE_URL: url })).toHaveLength(1)
    },
  )

  it.each(["0s", "-1d", "1.5h", "15", "15 m", "31d"])("reject the lifetime %s", (text) => {
    expect(problems({ ...ENOUGH, TOKEN_LIFETIME: text })).toHaveLength(1)
  })
})
