import { NextRequest } from "next/server"
import { afterEach, describe, expect, it, vi } from "vitest"

afterEach(() => {
  vi.unstubAllEnvs()
  vi.resetModules()
})

async function pageAt(
  url: string,
  nodeEnv = "production",
  apiUrl = "https://api.example.com",
): Promise<Headers> {
  vi.stubEnv("NODE_ENV", nodeEnv)
  vi.stubEnv("BETTER_AUTH_SECRET", "a-secret-for-tests-only-0123456789abcdef")
  vi.stubEnv("BETTER_AUTH_URL", url)
  vi.stubEnv("API_URL", apiUrl)
  const { proxy } = await import("./proxy")
  return proxy(new NextRequest(`${url}/account`)).headers
}

function directive(headers: Headers, name: string): string | undefined {
  return headers
    .get("content-security-policy")
    ?.split("; ")
    .find((part) => part.startsWith(`${name} `))
}

describe("the Content-Security-Policy of a page", () => {
  it("allows requests to its origin and the API, and only scripts with the nonce", async () => {
    const headers = await pageAt("https://tasks.example.com")
    expect(directive(headers, "connect-src")).toBe("connect-src 'self' https://api.example.com")
    expect(directive(headers, "default-src")).toBe("default-src 'self'")
    expect(directive(headers, "frame-ancestors")).toBe("frame-ancestors 'none'")
    expect(directive(headers, "script-src")).toMatch(
      /^script-src 'self' 'nonce-[A-Za-z0-9+/]{22}==' 'strict-dynamic'$/,
    )
    expect(headers.get("strict-transport-security")).toContain("max-age=31536000")
  })

  it("allows requests below the path of the API", async () => {
    const headers = await pageAt("https://example.com", "production", "https://api.example.com/tasks-api")
    expect(directive(headers, "connect-src")).toBe("connect-src 'self' https://api.example.com/tasks-api/")
  })

  it("has a new nonce for each response", async () => {
    const [one, other] = [await pageAt("http://localhost:3000"), await pageAt("http://localhost:3000")]
    expect(directive(one, "script-src")).not.toBe(directive(other, "script-src"))
  })

  it("sends HSTS on https only, and allows eval in development only", async () => {
    const headers = await pageAt("http://localhost:3000", "development")
    expect(headers.get("strict-transport-security")).toBeNull()
    expect(directive(headers, "script-src")).toContain("'unsafe-eval'")
  })
})
