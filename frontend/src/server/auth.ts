import { betterAuth, type AuthContext, type BetterAuthOptions } from "better-auth"
import { APIError, createAuthMiddleware } from "better-auth/api"
import { parseCookies } from "better-auth/cookies"
import { getMigrations } from "better-auth/db/migration"
import { jwt } from "better-auth/plugins/jwt"
import { AccountDeletions } from "./account-deletion"
import { recordNewCredential, swapCredential, verifyAndRecord } from "./credentials"
import { migrate, openDatabase, type Database } from "./database"
import { createLogoutToken, sendLogoutToken } from "./logout-token"
import { isPasswordResetAvailable, sendPasswordReset } from "./mail"
import { Outbox } from "./outbox"
import { requestState } from "./request-state"
import { checkNewSession } from "./sessions"
import { settings as current, type Settings } from "./settings"
import { jwtOptions } from "./tokens"

type Options = ReturnType<typeof authOptions>
export type Auth = ReturnType<typeof betterAuth<Options>>
export type Session = Auth["$Infer"]["Session"]

export type AuthServer = Readonly<{
  /** Return Better Auth after the database migration. Rejects while the database is unavailable; a later call retries. */
  ready(): Promise<Auth>
  /** Handle a request below /api/auth. Never rejects: 503 while the database is unavailable. */
  handle(request: Request): Promise<Response>
  /** Return whether the database responds within 2 s. */
  isDatabaseReachable(): Promise<boolean>
  outbox: Outbox
  deletions: AccountDeletions
  database: Database
  close(): Promise<void>
}>

/** Return the options of Better Auth. `context` resolves to the context of the instance that these options create. */
function authOptions(
  settings: Settings,
  database: Database,
  outbox: Outbox,
  deletions: AccountDeletions,
  context: () => Promise<AuthContext>,
) {
  return {
    appName: "Tasks",
    baseURL: settings.url,
    secret: settings.secret,
    trustedOrigins: [settings.url],
    telemetry: { enabled: false },
    database: { db: database.kysely, type: database.type, transaction: database.transaction },
    emailAndPassword: {
      enabled: true,
      minPasswordLength: 8,
      disableSignUp: !settings.signUpOpen,
      password: { verify: verifyAndRecord },
      // A forgotten password may have been stolen: end the sessions of an attacker.
      revokeSessionsOnPasswordReset: true,
      ...(isPasswordResetAvailable(settings)
        ? {
            sendResetPassword: async ({ user, token }) => {
              void sendPasswordReset(settings, user.email, token)
            },
          }
        : {}),
    },
    // By default users cannot list and end their sessions when their sign-in is more than a day old.
    session: { freshAge: 0 },
    hooks: {
      // Better Auth requires the password only if the session is not fresh; we always require it.
      before: createAuthMiddleware(async ({ path, body }) => {
        if (path !== "/delete-user") return
        const { password } = (body ?? {}) as { password?: unknown }
        if (typeof password !== "string" || password === "")
          throw new APIError("BAD_REQUEST", {
            code: "INVALID_PASSWORD",
            message: "The password is required.",
          })
      }),
    },
    // Better Auth calls `beforeDelete` after it has verified the password.
    user: { deleteUser: { enabled: true, beforeDelete: (user) => deletions.prepare(user.id) } },
    plugins: [jwt(jwtOptions(settings))],
    databaseHooks: {
      account: {
        create: { before: async (account) => recordNewCredential(account) },
        update: {
          before: async (account, endpoint) =>
            swapCredential(await context(), endpoint?.context.session?.user.id, account),
        },
      },
      session: {
        create: {
          after: async (session) =>
            checkNewSession(await context(), session, (userId) => deletions.isInProgress(userId)),
        },
        // In `after` and never throwing: an error in `before` would keep the session although the response is 200.
        delete: { after: (session) => outbox.sessionEnded(session) },
      },
    },
    rateLimit: rateLimit(settings),
    advanced: {
      useSecureCookies: settings.url.startsWith("https:"),
      ipAddress: { ipAddressHeaders: settings.clientIpHeader === undefined ? [] : [settings.clientIpHeader] },
      // Better Auth reads the sessions that it deletes, by default at most 100, to call the hook above. The logout tokens
      // of the others would be sent only by the next round of the outbox.
      database: { defaultFindManyLimit: 1_000_000 },
      // Set explicitly, because Better Auth turns these checks off if an environment variable TEST is set.
      disableOriginCheck: false,
      disableCSRFCheck: false,
    },
  } satisfies BetterAuthOptions
}

/**
 * Return the rate limits of Better Auth, which counts in the memory of each process.
 *
 * Better Auth counts by client address (for example three sign-ins in ten seconds). Without a trusted header for the
 * address all clients share one counter, so its default limits would let one client lock out all others. In that case
 * the limits apply to the whole site and are far higher: they bound the CPU time for hashing passwords. Ten requests per
 * second still lock out everyone, and one password can be guessed at that rate: `start.ts` warns about it.
 */
function rateLimit(settings: Settings) {
  if (!settings.rateLimit) return { enabled: false }
  if (settings.clientIpHeader !== undefined) return { enabled: true }
  const sharedLimit = { window: 10, max: 100 }
  return {
    enabled: true,
    max: 100_000,
    customRules: {
      "/sign-in/*": sharedLimit,
      "/sign-up/*": sharedLimit,
      "/change-password": sharedLimit,
      "/delete-user": sharedLimit,
      "/reset-password": sharedLimit,
      "/request-password-reset": { window: 60, max: 100 },
    },
  }
}

/** The endpoints that only end sessions, so that the client can safely repeat them after a 503. */
const SESSION_ENDING_PATHS = /\/(sign-out|revoke-session|revoke-sessions|revoke-other-sessions)$/

/** Create Better Auth with its database, outbox and account deletions. Connects at the first use. */
export function createAuthServer(settings: Settings): AuthServer {
  const database = openDatabase(settings.database)
  // A type cast only: the type of `$context` depends on our options and is not assignable to the general AuthContext.
  const context = async () => (await (await ready()).$context) as unknown as AuthContext
  const outbox = new Outbox(database.kysely, async (session) =>
    sendLogoutToken(settings, await createLogoutToken(await context(), settings, session)),
  )
  const deletions = new AccountDeletions(database.kysely, settings, outbox, context)
  const options = authOptions(settings, database, outbox, deletions, context)

  let readyPromise: Promise<Auth> | undefined
  /** Initialize once; concurrent calls share the attempt, and a call after a failed one retries. */
  async function ready(): Promise<Auth> {
    readyPromise ??= initializeAuth(options, settings, database).catch((error: unknown) => {
      readyPromise = undefined // the next call retries
      throw error
    })
    return readyPromise
  }

  /** Handle a request with Better Auth, and turn its misleading responses to database errors into 503. */
  async function handle(request: Request): Promise<Response> {
    let auth: Auth
    try {
      auth = await ready()
    } catch (error) {
      console.error(
        `The database of the accounts is not ready: ${error instanceof Error ? error.message : error}`,
      )
      return unavailableResponse()
    }
    const { response, statementFailed } = await outbox.runAndDeliver(
      async () => ({
        response: await auth.handler(request),
        statementFailed: requestState()?.statementFailed ?? false,
      }),
      request.headers.get("traceparent") ?? undefined,
    )
    // When the database fails, Better Auth responds with 500, or with 401: it handles a session that it cannot read like
    // a missing one.
    const mayBeUnavailable = response.status === 500 || response.status === 401
    if (mayBeUnavailable && (statementFailed || !(await database.isReachable()))) return unavailableResponse()
    // It also responds with 200 when it could not read the session that it should delete.
    if (statementFailed && SESSION_ENDING_PATHS.test(new URL(request.url).pathname))
      return unavailableResponse()
    if (response.ok && (await sessionSurvivedSignOut(auth, request))) return unavailableResponse()
    if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store")
    return response
  }

  return {
    ready,
    handle,
    isDatabaseReachable: () => database.isReachable(),
    outbox,
    deletions,
    database,
    close: async () => {
      await deletions.stop()
      await outbox.stop()
      await database.close()
    },
  }
}

/** Migrate the database, create Better Auth, and in key-pair mode the first key pair. */
async function initializeAuth(options: Options, settings: Settings, database: Database): Promise<Auth> {
  await migrate(database, settings.tokenLifetime, async () => (await getMigrations(options)).runMigrations())
  // After the migration, because Better Auth compares its schema with the tables when it is created.
  const auth = betterAuth(options)
  if (settings.tokenMode === "key-pair") await database.withMigrationLock(() => prepareKeys(auth, settings))
  return auth
}

/**
 * Create the first key pair before the first request: concurrent requests would create one each. Rejects if the private key
 * cannot be decrypted because BETTER_AUTH_SECRET has changed.
 */
async function prepareKeys(auth: Auth, settings: Settings): Promise<void> {
  if (settings.keyRotation !== undefined) {
    // A key pair that was created before KEY_ROTATION was set has no expiry and would never be rotated.
    const { adapter } = await auth.$context
    await adapter.updateMany({
      model: "jwks",
      where: [{ field: "expiresAt", value: null }],
      update: { expiresAt: new Date(Date.now() + settings.keyRotation * 1000) },
    })
  }
  await auth.api.signJWT({ body: { payload: {} } })
}

/**
 * Return whether the session of a sign-out request still exists, or may exist because it cannot be read.
 *
 * Better Auth responds with 200 and removes the cookie even if it could not delete the session, which could not be ended
 * any more. The caller responds with 503 instead and keeps the cookie, so that the user can try again.
 */
async function sessionSurvivedSignOut(auth: Auth, request: Request): Promise<boolean> {
  if (!new URL(request.url).pathname.endsWith("/sign-out")) return false
  const { adapter, authCookies } = await auth.$context
  const cookie = parseCookies(request.headers.get("cookie") ?? "").get(authCookies.sessionToken.name)
  const [token] = (cookie ?? "").split(".")
  if (!token) return false
  try {
    return (await adapter.findOne({ model: "session", where: [{ field: "token", value: token }] })) !== null
  } catch {
    return true
  }
}

/** Return a 503 in the format of Better Auth's own errors, which its client parses. */
function unavailableResponse(): Response {
  return Response.json(
    { code: "UNAVAILABLE", message: "Signing in is not possible at the moment. Please try again shortly." },
    { status: 503, headers: { "retry-after": "5", "cache-control": "no-store" } },
  )
}

// Next.js loads this module once for instrumentation and again for the routes, and after each change in development. All
// instances must share one connection pool and one outbox, so they are stored on globalThis.
const GLOBAL_KEY = Symbol.for("taskapi.frontend.auth")
const globals = globalThis as typeof globalThis & { [GLOBAL_KEY]?: AuthServer }

/** Return the auth server of this process. Created at the first use and not at import: `next build` imports this module. */
export function authServer(): AuthServer {
  return (globals[GLOBAL_KEY] ??= createAuthServer(current()))
}

/** Return the session of the signed-in user for server components. Does not extend it: they cannot set cookies. */
export async function getSession(headers: Headers): Promise<Session | null> {
  const auth = await authServer().ready()
  return auth.api.getSession({ headers, query: { disableRefresh: true } })
}
