import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose"
import { describe, expect, it } from "vitest"
import {
  DIALECTS,
  openAuthEnvironment,
  ORIGIN,
  SECRET,
  setUpAuthTests,
  type AuthEnvironment,
} from "@/testing/authFixture"

setUpAuthTests()

let env: AuthEnvironment
const secret = new TextEncoder().encode(SECRET)

describe.each(DIALECTS)("with the shared secret, on %s", (dialect) => {
  it("signs HS256 tokens for a week, without personal data", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const session = await browser.session()
    const token = await browser.token()

    const { payload, protectedHeader } = await jwtVerify(token, secret, { issuer: ORIGIN, audience: ORIGIN })
    expect(protectedHeader).toEqual({ alg: "HS256" })
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sid", "sub"])
    expect(payload.sub).toBe(session?.userId)
    expect(payload.sid).toBe(session?.id)
    expect(token).not.toContain(session?.token)
    expect(Number(payload.exp) - Number(payload.iat)).toBe(7 * 24 * 60 * 60)
    expect(JSON.stringify(payload)).not.toMatch(/ada|lovelace|example\.com/i)
    expect(decodeJwt(await browser.token()).jti).not.toBe(payload.jti)
  })

  it("publishes and creates no key pair", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    await browser.token()
    expect((await browser.call("GET", "/jwks")).status).toBe(404)
    const { adapter } = await (await env.server.ready()).$context
    expect(await adapter.findMany({ model: "jwks" })).toEqual([])
  })

  it("sends no token with /get-session, and responses are not cacheable", async () => {
    env = await openAuthEnvironment(dialect)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const response = await browser.call("GET", "/get-session")
    expect(response.headers.get("set-auth-jwt")).toBeNull()
    expect((await browser.call("GET", "/token")).headers.get("cache-control")).toBe("no-store")
    expect((await env.browser().call("GET", "/token")).status).toBe(401)
  })

  it("follows TOKEN_LIFETIME and JWT_AUDIENCE", async () => {
    env = await openAuthEnvironment(dialect, { TOKEN_LIFETIME: "90s", JWT_AUDIENCE: "the-tasks" })
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const { aud, exp, iat } = decodeJwt(await browser.token())
    expect(aud).toBe("the-tasks")
    expect(Number(exp) - Number(iat)).toBe(90)
  })
})

describe.each(DIALECTS)("with a key pair, on %s", (dialect) => {
  const keyPair = { TOKEN_MODE: "key-pair" }

  async function published(): Promise<JSONWebKeySet> {
    return (await (await env.browser().call("GET", "/jwks")).json()) as JSONWebKeySet
  }

  it("signs EdDSA tokens for 15 minutes and publishes only the public key", async () => {
    env = await openAuthEnvironment(dialect, keyPair)
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const token = await browser.token()
    const jwks = await published()

    expect(jwks.keys).toHaveLength(1)
    expect(jwks.keys[0]).toMatchObject({ alg: "EdDSA", crv: "Ed25519", kty: "OKP" })
    expect(jwks.keys[0]).not.toHaveProperty("d")
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(jwks), {
      issuer: ORIGIN,
      audience: ORIGIN,
    })
    expect(protectedHeader).toEqual({ alg: "EdDSA", kid: jwks.keys[0]?.kid })
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sid", "sub"])
    expect(payload.sid).toBe(await browser.sid())
    expect(Number(payload.exp) - Number(payload.iat)).toBe(15 * 60)
  })

  it("creates one key pair for concurrent first requests", async () => {
    env = await openAuthEnvironment(dialect, keyPair)
    await Promise.all(Array.from({ length: 6 }, published))
    expect((await published()).keys).toHaveLength(1)
  })

  it("rotates the key pair after KEY_ROTATION and still publishes the old public key", async () => {
    env = await openAuthEnvironment(dialect, { ...keyPair, KEY_ROTATION: "1s" })
    const browser = env.browser()
    await browser.signUp("ada@example.com")
    const before = await browser.token()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const after = await browser.token()
    expect(decodeProtectedHeader(after).kid).not.toBe(decodeProtectedHeader(before).kid)
    const keys = createLocalJWKSet(await published())
    await jwtVerify(before, keys)
    await jwtVerify(after, keys)
  })

  it("also rotates a key pair that was created before KEY_ROTATION was set", async () => {
    env = await openAuthEnvironment(dialect, keyPair)
    const kid = (await published()).keys[0]?.kid
    const later = env.openSecondServer({ KEY_ROTATION: "1s" })
    await later.ready()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const { token } = await (await later.ready()).api.signJWT({ body: { payload: {} } })
    expect(decodeProtectedHeader(token).kid).not.toBe(kid)
  })

  it("rejects at startup when the secret cannot decrypt the private key", async () => {
    env = await openAuthEnvironment(dialect, keyPair)
    await env.server.ready()
    const other = env.openSecondServer({ BETTER_AUTH_SECRET: "another-secret-for-tests-0123456789abcdef" })
    await expect(other.ready()).rejects.toThrow(/decrypt private key/)
  })
})
