import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose"
import { describe, expect, it } from "vitest"
import { DIALECTS, openTrial, ORIGIN, SECRET, setUpAuthTests, type Trial } from "@/testing/authFixture"

setUpAuthTests()

let trial: Trial
const secret = new TextEncoder().encode(SECRET)

describe.each(DIALECTS)("with the shared secret, on %s", (dialect) => {
  it("signs HS256 for a week, with nothing about the person", async () => {
    trial = await openTrial(dialect)
    const browser = trial.browser()
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

  it("publishes no key and makes none", async () => {
    trial = await openTrial(dialect)
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    await browser.token()
    expect((await browser.call("GET", "/jwks")).status).toBe(404)
    const { adapter } = await (await trial.server.ready()).$context
    expect(await adapter.findMany({ model: "jwks" })).toEqual([])
  })

  it("puts no token on the answer about the session, and lets no answer be stored", async () => {
    trial = await openTrial(dialect)
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    const answer = await browser.call("GET", "/get-session")
    expect(answer.headers.get("set-auth-jwt")).toBeNull()
    expect((await browser.call("GET", "/token")).headers.get("cache-control")).toBe("no-store")
    expect((await trial.browser().call("GET", "/token")).status).toBe(401)
  })

  it("follows TOKEN_LIFETIME and JWT_AUDIENCE", async () => {
    trial = await openTrial(dialect, { TOKEN_LIFETIME: "90s", JWT_AUDIENCE: "the-tasks" })
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    const { aud, exp, iat } = decodeJwt(await browser.token())
    expect(aud).toBe("the-tasks")
    expect(Number(exp) - Number(iat)).toBe(90)
  })
})

describe.each(DIALECTS)("with a key pair, on %s", (dialect) => {
  const keyPair = { TOKEN_MODE: "key-pair" }

  async function published(): Promise<JSONWebKeySet> {
    return (await (await trial.browser().call("GET", "/jwks")).json()) as JSONWebKeySet
  }

  it("signs EdDSA for a quarter of an hour and publishes only the public half", async () => {
    trial = await openTrial(dialect, keyPair)
    const browser = trial.browser()
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

  it("makes one pair, however many ask first", async () => {
    trial = await openTrial(dialect, keyPair)
    await Promise.all(Array.from({ length: 6 }, published))
    expect((await published()).keys).toHaveLength(1)
  })

  it("replaces the pair after KEY_ROTATION and still publishes the old one", async () => {
    trial = await openTrial(dialect, { ...keyPair, KEY_ROTATION: "1s" })
    const browser = trial.browser()
    await browser.signUp("ada@example.com")
    const before = await browser.token()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const after = await browser.token()
    expect(decodeProtectedHeader(after).kid).not.toBe(decodeProtectedHeader(before).kid)
    const keys = createLocalJWKSet(await published())
    await jwtVerify(before, keys)
    await jwtVerify(after, keys)
  })

  it("also replaces a pair from the time before KEY_ROTATION was set", async () => {
    trial = await openTrial(dialect, keyPair)
    const kid = (await published()).keys[0]?.kid
    const later = trial.sibling({ KEY_ROTATION: "1s" })
    await later.ready()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const { token } = await (await later.ready()).api.signJWT({ body: { payload: {} } })
    expect(decodeProtectedHeader(token).kid).not.toBe(kid)
  })

  it("says so at the start when the secret no longer opens the private key", async () => {
    trial = await openTrial(dialect, keyPair)
    await trial.server.ready()
    const other = trial.sibling({ BETTER_AUTH_SECRET: "another-secret-for-tests-0123456789abcdef" })
    await expect(other.ready()).rejects.toThrow(/decrypt private key/)
  })
})
