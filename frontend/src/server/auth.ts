import { betterAuth, type AuthContext, type BetterAuthOptions } from "better-auth"
import { APIError, createAuthMiddleware } from "better-auth/api"
import { parseCookies } from "better-auth/cookies"
import { getMigrations } from "better-auth/db/migration"
import { jwt } from "better-auth/plugins/jwt"
import { AccountDeletions } from "./account-deletion"
import { recordNewCredential, swapCredential, verifyAndRecord } from "./credentials"
import { migrate, openDatabase, type Database } from "./database"
import { passwordResetOffered, sendPasswordReset } from "./mail"
import { Outbox } from "./outbox"
import { requestState } from "./request-state"
import { checkNewSession } from "./sessions"
import { settings as current, type Settings } from "./settings"
import { logoutNotice, sendNotice } from "./logout-token"
import { jwtOptions } from "./tokens"

type Options = ReturnType<typeof authOptions>
export type Auth = ReturnType<typeof betterAuth<Options>>
export type Session = Auth["$Infer"]["Session"]

export type AuthServer = Readonly<{
  /** Better Auth, once its database is ready. Rejects while the database is away, and may be asked again. */
  ready(): Promise<Auth>
  /** Answers a request beneath /api/auth. */
  handle(request: Request): Promise<Response>
  reachable(): Promise<boolean>
  outbox: Outbox
  deletions: AccountDeletions
  database: Database
  close(): Promise<void>
}>

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
      // Whoever forgot the password may have lost it to somebody who is signed in.
      revokeSessionsOnPasswordReset: true,
      ...(passwordResetOffered(settings)
        ? {
            sendResetPassword: async ({ user, token }) => {
              void sendPasswordReset(settings, user.email, token)
            },
          }
        : {}),
    },
    // By default somebody who signed in a day ago could not see the list of sessions, and end one that is not theirs.
    session: { freshAge: 0 },
    hooks: {
      // Better Auth asks for the password only of those who signed in a while ago.
      before: createAuthMiddleware(async ({ path, body }) => {
        if (path !== "/delete-user") return
        const { password } = (body ?? {}) as { password?: unknown }
        if (typeof password !== "string" || password === "")
          throw new APIError("BAD_REQUEST", { code: "INVALID_PASSWORD", message: "The password is needed." })
      }),
    },
    // Asked once the password is known to be right.
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
            checkNewSession(await context(), session, (userId) => deletions.isUnderWay(userId)),
        },
        // After, and never throwing: from `before`, an error would leave the session alive behind an answer of 200.
        delete: { after: (session) => outbox.sessionEnded(session) },
      },
    },
    rateLimit: rateLimit(settings),
    advanced: {
      useSecureCookies: settings.url.startsWith("https:"),
      ipAddress: { ipAddressHeaders: settings.clientIpHeader === undefined ? [] : [settings.clientIpHeader] },
      // Better Auth reads the sessions that it deletes, 100 of them by default, to call the hook above. The notices of
      // the others would not be sent at once, but by the next round of the outbox.
      database: { defaultFindManyLimit: 1_000_000 },
      // Said out loud, because any value of a variable named TEST would turn it off.
      disableOriginCheck: false,
      disableCSRFCheck: false,
    },
  } satisfies BetterAuthOptions
}

/**
 * Better Auth counts by client address, three tries to sign in in ten seconds for instance. Without a header to
 * believe it knows no address and everybody shares one count, so its own limits would let anyone lock everyone out.
 * Then the limits are those of the whole site, and far higher: they bound the work that hashing passwords makes. Ten
 * requests a second still lock everyone out, and one password can be guessed at as often: see `start.ts`, which warns.
 * Each process counts for itself.
 */
function rateLimit(settings: Settings) {
  if (!settings.rateLimit) return { enabled: false }
  if (settings.clientIpHeader !== undefined) return { enabled: true }
  const shared = { window: 10, max: 100 }
  return {
    enabled: true,
    max: 100_000,
    customRules: {
      "/sign-in/*": shared,
      "/sign-up/*": shared,
      "/change-password": shared,
      "/delete-user": shared,
      "/reset-password": shared,
      "/request-password-reset": { window: 60, max: 100 },
    },
  }
}

/** The endpoints by which a user ends sessions and does nothing else: all of them may be repeated. */
const ENDS_SESSIONS = /\/(sign-out|revoke-session|revoke-sessions|revoke-other-sessions)$/

export function openAuth(settings: Settings): AuthServer {
  const database = openDatabase(settings.database)
  // The same object; only its type names our very options, and is not assignable to the general one.
  const context = async () => (await (await ready()).$context) as unknown as AuthContext
  const outbox = new Outbox(database.kysely, async (session) =>
    sendNotice(settings, await logoutNotice(await context(), settings, session)),
  )
  const deletions = new AccountDeletions(database.kysely, settings, outbox, context)
  const options = authOptions(settings, database, outbox, deletions, context)

  let prepared: Promise<Auth> | undefined
  async function ready(): Promise<Auth> {
    prepared ??= prepare(options, settings, database).catch((error: unknown) => {
      prepared = undefined // the next one tries again
      throw error
    })
    return prepared
  }

  async function handle(request: Request): Promise<Response> {
    let auth: Auth
    try {
      auth = await ready()
    } catch (error) {
      console.error(
        `The database of the accounts is not ready: ${error instanceof Error ? error.message : error}`,
      )
      return unavailable()
    }
    const { response, failed } = await outbox.attend(async () => ({
      response: await auth.handler(request),
      failed: requestState()?.statementFailed ?? false,
    }))
    // Better Auth says 500 when the database fails, but also 401, as if nobody were signed in: it takes a session that
    // cannot be read for one that is not there.
    const doubtful = response.status === 500 || response.status === 401
    if (doubtful && (failed || !(await database.reachable()))) return unavailable()
    // It also says 200 when it could not read the session that it was to delete.
    if (failed && ENDS_SESSIONS.test(new URL(request.url).pathname)) return unavailable()
    if (response.ok && (await outlived(auth, request))) return unavailable()
    if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store")
    return response
  }

  return {
    ready,
    handle,
    reachable: () => database.reachable(),
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

async function prepare(options: Options, settings: Settings, database: Database): Promise<Auth> {
  await migrate(database, settings.tokenLifetime, async () => (await getMigrations(options)).runMigrations())
  // Not before: it compares the tables with its own idea of them as soon as it is made.
  const auth = betterAuth(options)
  if (settings.tokenMode === "key-pair") await database.exclusively(() => prepareKeys(auth, settings))
  return auth
}

/** Before the first request: several at once would each make a key pair. Also shows a secret that fits no longer. */
async function prepareKeys(auth: Auth, settings: Settings): Promise<void> {
  if (settings.keyRotation !== undefined) {
    // A pair made before KEY_ROTATION was set knows no end, and would be used for ever.
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
 * Better Auth says that a sign-out worked also when the session could not be deleted, and takes the cookie away: nobody
 * could end that session any more. Then the cookie has to stay, so that the person can try again.
 */
async function outlived(auth: Auth, request: Request): Promise<boolean> {
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

/** In the form of Better Auth's own errors, which its client understands. */
function unavailable(): Response {
  return Response.json(
    { code: "UNAVAILABLE", message: "Signing in is not possible at the moment. Please try again shortly." },
    { status: 503, headers: { "retry-after": "5", "cache-control": "no-store" } },
  )
}

// Next loads this module once for its start and again for its routes, and anew after each change in development. They
// must share one pool and one outbox.
const KEY = Symbol.for("taskapi.frontend.auth")
const shared = globalThis as typeof globalThis & { [KEY]?: AuthServer }

/** The one of this process. Opened at the first use and not at import: `next build` imports this as well. */
export function authServer(): AuthServer {
  return (shared[KEY] ??= openAuth(current()))
}

/** Who is signed in, for server components. These cannot set cookies, so they do not prolong the session either. */
export async function getSession(headers: Headers): Promise<Session | null> {
  const auth = await authServer().ready()
  return auth.api.getSession({ headers, query: { disableRefresh: true } })
}
