import path from "node:path"

/** SQLite file (absolute path) or PostgreSQL URL of the accounts' database. */
export type DatabaseLocation =
  Readonly<{ kind: "file"; path: string }> | Readonly<{ kind: "postgresql"; url: string }>

export type Settings = Readonly<{
  /** True with NODE_ENV=production; `next dev` and the tests are not. */
  production: boolean
  secret: string
  /** Public origin of this frontend; also the issuer (`iss`) of every token. */
  url: string
  /** URL of the task API as browsers reach it, without a slash at its end; it has a path behind a proxy with a path prefix. */
  apiUrl: string
  /** The same URL as this server reaches it. */
  apiInternalUrl: string
  database: DatabaseLocation
  tokenMode: "shared-secret" | "key-pair"
  /** Seconds. */
  tokenLifetime: number
  /** Seconds between two key pairs; undefined: no rotation. */
  keyRotation: number | undefined
  audience: string
  smtp: Readonly<{ url: string; from: string }> | undefined
  clientIpHeader: string | undefined
  signUpOpen: boolean
  rateLimit: boolean
}>

/** All problems of the settings in one error, so that they can be fixed at once. */
export class SettingsError extends Error {
  override name = "SettingsError"

  constructor(readonly problems: readonly string[]) {
    super(`The settings are not usable:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`)
  }
}

// Default secret of Better Auth, which is published in its source code.
const PUBLIC_SECRET = "better-auth-secret-12345678901234567890"

// Secret of `make app`, which is in the repository.
const DEVELOPMENT_SECRET = "taskapi-development-secret-never-use-in-production"

const DAY = 24 * 60 * 60
const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 60 * 60, d: DAY }
const MAX_TOKEN_LIFETIME = 30 * DAY

export type Environment = Readonly<Record<string, string | undefined>>

/** Parse and validate environment variables; an empty one counts as absent. Throws `SettingsError` with all problems. */
export function readSettings(environment: Environment): Settings {
  const problems: string[] = []
  const get = (name: string) => environment[name]?.trim() || undefined
  const production = environment.NODE_ENV === "production"

  /** Return a variable, or "" and a problem if it is missing. */
  function required(name: string): string {
    const value = get(name)
    if (value === undefined) problems.push(`${name} is missing.`)
    return value ?? ""
  }

  /** Return the origin (scheme, host and port) of a URL, or "" and a problem if it has more than that. */
  function origin(name: string, text: string): string {
    const url = parseHttpUrl(text)
    if (url?.pathname === "/") return url.origin
    if (text !== "")
      problems.push(`${name} must be an origin such as https://tasks.example.com, without a path.`)
    return ""
  }

  /** Return a URL that may have a path, without a slash at its end, or "" and a problem if it has more than that. */
  function baseUrl(name: string, text: string): string {
    const url = parseHttpUrl(text)
    if (url) return url.origin + url.pathname.replace(/\/+$/, "")
    if (text !== "")
      problems.push(`${name} must be a URL such as https://api.example.com or https://example.com/tasks-api.`)
    return ""
  }

  /** Return one of the allowed values of a variable; `fallback` if it is missing. */
  function choice<T extends string>(name: string, options: readonly [T, ...T[]], fallback: T): T {
    const value = get(name) ?? fallback
    const found = options.find((option) => option === value)
    if (found === undefined) problems.push(`${name} must be ${options.join(" or ")}.`)
    return found ?? fallback
  }

  /** Return the duration of a variable, such as 15m, in seconds; undefined if it is missing or, with a problem, invalid. */
  function duration(name: string): number | undefined {
    const text = get(name)
    if (text === undefined) return undefined
    const [, digits, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? []
    if (digits !== undefined && unit !== undefined) return Number(digits) * (UNITS[unit] ?? 1)
    problems.push(`${name} must be a number and a unit, such as 90s, 15m, 12h or 7d.`)
    return undefined
  }

  // Not trimmed: the API verifies tokens with the exact bytes of the variable.
  const secret = environment.BETTER_AUTH_SECRET ?? ""
  if (secret === "") problems.push("BETTER_AUTH_SECRET is missing.")
  if (secret === PUBLIC_SECRET) problems.push("BETTER_AUTH_SECRET is the public default of Better Auth.")
  else if (secret !== "" && Buffer.byteLength(secret) < 32)
    problems.push("BETTER_AUTH_SECRET must be at least 32 bytes long. Make one with: openssl rand -base64 32")

  if (production && secret === DEVELOPMENT_SECRET)
    problems.push("BETTER_AUTH_SECRET is the development secret of taskapi, which is public.")

  const url = origin("BETTER_AUTH_URL", required("BETTER_AUTH_URL"))
  const apiUrl = baseUrl("API_URL", required("API_URL"))
  const apiInternalUrl = baseUrl("API_INTERNAL_URL", get("API_INTERNAL_URL") ?? "") || apiUrl

  const tokenMode = choice("TOKEN_MODE", ["shared-secret", "key-pair"], "shared-secret")
  const tokenLifetime = duration("TOKEN_LIFETIME") ?? (tokenMode === "key-pair" ? 15 * 60 : 7 * DAY)
  if (tokenLifetime > MAX_TOKEN_LIFETIME) problems.push("TOKEN_LIFETIME must be 30d or less.")
  const keyRotation = duration("KEY_ROTATION")
  if (keyRotation !== undefined && tokenMode !== "key-pair")
    problems.push("KEY_ROTATION needs TOKEN_MODE=key-pair.")

  const smtpUrl = get("SMTP_URL")
  const from = get("MAIL_FROM")
  if (smtpUrl !== undefined && !(URL.canParse(smtpUrl) && /^smtps?:$/.test(new URL(smtpUrl).protocol)))
    problems.push("SMTP_URL must begin with smtp:// or smtps://.")
  if (smtpUrl !== undefined && from === undefined) problems.push("MAIL_FROM is missing; SMTP_URL needs it.")

  const clientIpHeader = get("CLIENT_IP_HEADER")?.toLowerCase()
  if (clientIpHeader !== undefined && !/^[a-z0-9-]+$/.test(clientIpHeader))
    problems.push("CLIENT_IP_HEADER must be the name of one header.")

  const database = parseDatabaseUrl(get("AUTH_DATABASE_URL"))
  if (database === undefined)
    problems.push(
      "AUTH_DATABASE_URL must begin with postgresql:// or be a file such as file:/srv/tasks/auth.db.",
    )

  const signUpOpen = choice("SIGN_UP", ["open", "closed"], "open") === "open"
  const rateLimit = choice("AUTH_RATE_LIMIT", ["on", "off"], production ? "on" : "off") === "on"

  if (database === undefined || problems.length > 0) throw new SettingsError(problems)
  return Object.freeze({
    production,
    secret,
    url,
    apiUrl,
    apiInternalUrl,
    database: Object.freeze(database),
    tokenMode,
    tokenLifetime,
    keyRotation,
    audience: get("JWT_AUDIENCE") ?? url,
    smtp: smtpUrl !== undefined && from !== undefined ? Object.freeze({ url: smtpUrl, from }) : undefined,
    clientIpHeader,
    signUpOpen,
    rateLimit,
  })
}

/** Parse an http(s) URL without credentials, query and fragment; undefined for any other text. */
function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url && !url.search && !url.hash && !url.username && !url.password
  return isPlain && /^https?:$/.test(url.protocol) ? url : undefined
}

/** Parse AUTH_DATABASE_URL; the default is the file data/auth.db. Returns undefined if it is invalid. */
function parseDatabaseUrl(text: string | undefined): DatabaseLocation | undefined {
  // `turbopackIgnore` keeps the bundler from adding the whole folder: the path is known at run time only.
  if (text === undefined)
    return { kind: "file", path: path.join(/* turbopackIgnore: true */ process.cwd(), "data", "auth.db") }
  // Not parsed here: `pg` also accepts the path of a Unix socket as host, which is not a valid URL.
  if (/^postgres(ql)?:\/\/./.test(text)) return { kind: "postgresql", url: text }
  // `file:auth.db`, `file:/srv/auth.db` and `file:///srv/auth.db`, but not `file::memory:`, which would lose all accounts.
  const [, place] = /^file:(?:\/\/(?=\/))?([^?#]+)$/.exec(text) ?? []
  if (place === undefined || place.startsWith(":") || place.startsWith("//")) return undefined
  return { kind: "file", path: path.resolve(/* turbopackIgnore: true */ place) }
}

let cached: Settings | undefined

/** Return the settings of this process. Read at the first use and not at import: `next build` has no settings. */
export function settings(): Settings {
  return (cached ??= readSettings(process.env))
}
