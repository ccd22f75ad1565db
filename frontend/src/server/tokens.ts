import { SignJWT } from "jose"
import type { JwtOptions } from "better-auth/plugins/jwt"
import type { Settings } from "./settings"

const DAY = 24 * 60 * 60

/**
 * What goes into an access token, and who signs it: the claims `sub iss aud exp iat sid jti` and nothing about the
 * person. Without `definePayload` the plugin would put the whole row of the user in.
 */
export function jwtOptions(settings: Settings): JwtOptions {
  return {
    // The token is fetched where it is needed; by default one would also ride on every answer about the session.
    disableSettingJwtHeader: true,
    jwks: settings.tokenMode === "key-pair" ? ownKeys(settings) : noKeys(settings),
    jwt: {
      issuer: settings.url,
      audience: settings.audience,
      // With its unit: a bare number would be a moment, not a duration.
      expirationTime: `${settings.tokenLifetime}s`,
      definePayload: ({ session }) => ({ sid: session.id, jti: crypto.randomUUID() }),
      ...(settings.tokenMode === "shared-secret" ? { sign: signWith(settings.secret) } : {}),
    },
  }
}

function ownKeys(settings: Settings): JwtOptions["jwks"] {
  return {
    keyPairConfig: { alg: "EdDSA", crv: "Ed25519" },
    ...(settings.keyRotation === undefined ? {} : { rotationInterval: settings.keyRotation }),
    // How long a replaced key is still published: never shorter than a token that it signed.
    gracePeriod: Math.max(30 * DAY, settings.tokenLifetime),
  }
}

// Both members must be there for the plugin to call `sign`, and they turn /jwks off. Nobody ever fetches the address,
// and no key of that algorithm is made.
function noKeys(settings: Settings): JwtOptions["jwks"] {
  return { remoteUrl: `${settings.url}/no-keys-are-published`, keyPairConfig: { alg: "ES256" } }
}

// `algorithm: "HS256"` is an option the plugin does not know and ignores without a word; this hook is the way.
function signWith(secret: string): NonNullable<NonNullable<JwtOptions["jwt"]>["sign"]> {
  const key = new TextEncoder().encode(secret)
  return (payload, header) => new SignJWT(payload).setProtectedHeader({ ...header, alg: "HS256" }).sign(key)
}
