import { SignJWT } from "jose"
import type { JwtOptions } from "better-auth/plugins/jwt"
import type { Settings } from "./settings"

const DAY = 24 * 60 * 60

/**
 * Return the options of Better Auth's `jwt` plugin: access tokens with the claims `sub iss aud exp iat sid jti`, signed with
 * the shared secret or the key pair. Without `definePayload` a token would contain the whole row of the user.
 */
export function jwtOptions(settings: Settings): JwtOptions {
  return {
    // Clients fetch the token from /token; by default every /get-session response would have one in a header as well.
    disableSettingJwtHeader: true,
    jwks: settings.tokenMode === "key-pair" ? publishedKeys(settings) : unpublishedKeys(settings),
    jwt: {
      issuer: settings.url,
      audience: settings.audience,
      // With the unit "s": the plugin interprets a bare number as a point in time.
      expirationTime: `${settings.tokenLifetime}s`,
      definePayload: ({ session }) => ({ sid: session.id, jti: crypto.randomUUID() }),
      ...(settings.tokenMode === "shared-secret" ? { sign: hs256Signer(settings.secret) } : {}),
    },
  }
}

/** Return the key options of key-pair mode: Ed25519, published at /jwks, rotated with KEY_ROTATION. */
function publishedKeys(settings: Settings): JwtOptions["jwks"] {
  return {
    keyPairConfig: { alg: "EdDSA", crv: "Ed25519" },
    ...(settings.keyRotation === undefined ? {} : { rotationInterval: settings.keyRotation }),
    // Seconds that a rotated key is still published; at least the lifetime of the tokens that it signed.
    gracePeriod: Math.max(30 * DAY, settings.tokenLifetime),
  }
}

/**
 * Return the key options of shared-secret mode, in which no key pair exists. The plugin calls `sign` only if both members
 * are set; `remoteUrl` also turns its endpoint /jwks off. The URL is never fetched, and no ES256 key is created.
 */
function unpublishedKeys(settings: Settings): JwtOptions["jwks"] {
  return { remoteUrl: `${settings.url}/no-keys-are-published`, keyPairConfig: { alg: "ES256" } }
}

/**
 * Return the `sign` hook of shared-secret mode, which signs tokens with HS256. The plugin has no option for that: it
 * silently ignores `algorithm: "HS256"`.
 */
function hs256Signer(secret: string): NonNullable<NonNullable<JwtOptions["jwt"]>["sign"]> {
  const key = new TextEncoder().encode(secret)
  return (payload, header) => new SignJWT(payload).setProtectedHeader({ ...header, alg: "HS256" }).sign(key)
}
