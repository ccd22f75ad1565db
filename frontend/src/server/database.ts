import { closeSync, mkdirSync, openSync } from "node:fs"
import path from "node:path"
import { pathToFileURL } from "node:url"
import { setTimeout as delay } from "node:timers/promises"
import { createClient } from "@libsql/client"
import { LibsqlDialect, type libsql } from "@libsql/kysely-libsql"
import { Kysely, PostgresDialect, sql } from "kysely"
import { Pool } from "pg"
import { guardSessionDeletes } from "./session-guard"
import { postgresqlTrigger, sqliteTrigger, TRIGGER_NAME } from "./session-trigger"
import type { DatabaseLocation } from "./settings"

/**
 * Pending logout notice: a session has ended and the API has not accepted its logout token yet. Rows are inserted by a
 * trigger on the session table. `next_at`: next delivery attempt; `forget_at`: expiry (milliseconds since 1970). Columns
 * are not renamed, because processes of two releases use the table during a deployment.
 */
export type LogoutNoticeTable = {
  sid: string
  sub: string
  attempts: number
  next_at: number
  forget_at: number
}

/** Account deletion in progress, or done with its final erasure due at `erase_at` (milliseconds since 1970). */
export type AccountDeletionTable = { user_id: string; erase_at: number }

export type Tables = { logout_notice: LogoutNoticeTable; account_deletion: AccountDeletionTable }

export type Database = Readonly<{
  kysely: Kysely<Tables>
  type: "sqlite" | "postgres"
  /** True if Better Auth may wrap several writes in a transaction. */
  transaction: boolean
  /** Run `work` while no other process runs its own (PostgreSQL: advisory lock; SQLite: no lock, see `migrate`). */
  withMigrationLock<T>(work: () => Promise<T>): Promise<T>
  /** Create or replace the trigger that records ended sessions; `tokenLifetime` in seconds. */
  createTrigger(tokenLifetime: number): Promise<void>
  /** Return whether the database responds within 2 s. */
  isReachable(): Promise<boolean>
  close(): Promise<void>
}>

/** Open the accounts' database; connects at the first statement. */
export function openDatabase(location: DatabaseLocation): Database {
  return location.kind === "file" ? openSqlite(location.path) : openPostgresql(location.url)
}

/** Open a SQLite file with libsql, and create it with permissions for its owner only. */
function openSqlite(file: string): Database {
  // Owner only, because it holds password hashes and private keys. SQLite gives the -wal and -shm files the same mode.
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  closeSync(openSync(file, "a", 0o600))
  const client = createClient({ url: pathToFileURL(file).href, timeout: 5000 })
  // WAL is a property of the file. With it, readers and the writer do not block each other.
  const walMode = client.execute("PRAGMA journal_mode = WAL")
  walMode.catch(() => undefined) // reported by `withMigrationLock`, which awaits it
  // The dialect has the types of an older client, which differ in `sync()` only; that is for replicas and unused here.
  const dialect = new LibsqlDialect({ client: client as libsql.Client })
  const kysely = new Kysely<Tables>({ dialect: guardSessionDeletes(dialect) })
  return {
    kysely,
    type: "sqlite",
    // A libsql transaction holds the write lock across awaits. Another write in this process waits for the lock inside C
    // code and blocks the event loop, so that the transaction cannot continue: a deadlock until the timeout.
    transaction: false,
    // Processes that share a file are rare (two `next` in one folder); `migrate` retries after a lost race.
    withMigrationLock: async (work) => {
      await walMode
      return work()
    },
    createTrigger: async (tokenLifetime) => {
      const statement = sqliteTrigger(tokenLifetime)
      const named = {
        sql: "select sql from sqlite_master where type = 'trigger' and name = ?",
        args: [TRIGGER_NAME],
      }
      const [existing] = (await client.execute(named)).rows
      // A batch is one transaction: a session that another process deletes is recorded by the old or the new trigger.
      if (existing?.sql !== statement)
        await client.batch([`drop trigger if exists ${TRIGGER_NAME}`, statement], "write")
    },
    isReachable: () => isReachable(kysely),
    close: async () => {
      await kysely.destroy()
      client.close()
    },
  }
}

// Arbitrary key of the advisory lock; must be the same in all processes and versions.
const ADVISORY_LOCK = 4_077_220_716

/** Open a PostgreSQL database with a pool of 10 connections. */
function openPostgresql(url: string): Database {
  const pool = new Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 3000,
    query_timeout: 10_000,
    keepAlive: true,
  })
  // A broken connection emits "error", and an unhandled "error" event ends the process. The pool handles it for idle
  // connections only, so add a listener for connections in use between two queries, as in a transaction. The next query
  // then fails or gets another connection.
  pool.on("error", (error) => console.warn(`A connection to the database broke: ${error.message}`))
  pool.on("connect", (client) => client.on("error", () => undefined))
  const kysely = new Kysely<Tables>({ dialect: guardSessionDeletes(new PostgresDialect({ pool })) })
  return {
    kysely,
    type: "postgres",
    transaction: true,
    // A transaction-level lock: unlike a session-level one it works through PgBouncer, and ends with a broken connection.
    withMigrationLock: (work) =>
      kysely.transaction().execute(async (lock) => {
        await sql`select pg_advisory_xact_lock(${ADVISORY_LOCK})`.execute(lock)
        return work()
      }),
    createTrigger: async (tokenLifetime) => {
      await sql.raw(postgresqlTrigger(tokenLifetime)).execute(kysely)
      // An existing trigger is not replaced, because that would wait for all transactions that use the table. Its function
      // was replaced above.
      const existing = sql`select from pg_trigger where tgname = ${TRIGGER_NAME} and tgrelid = '"session"'::regclass`
      if ((await existing.execute(kysely)).rows.length === 0)
        await sql
          .raw(
            `create trigger ${TRIGGER_NAME} after delete on "session" for each row execute function ${TRIGGER_NAME}()`,
          )
          .execute(kysely)
    },
    isReachable: () => isReachable(kysely),
    close: () => kysely.destroy(),
  }
}

/** Return whether `select 1` succeeds within 2 s. */
async function isReachable(kysely: Kysely<Tables>): Promise<boolean> {
  const query = sql`select 1`.execute(kysely).then(
    () => true,
    () => false,
  )
  return Promise.race([query, delay(2000, false, { ref: false })])
}

/**
 * Create or migrate the tables: those of Better Auth with `migrateAuth`, then logout_notice, account_deletion and the
 * trigger. PostgreSQL: under an advisory lock; SQLite: with retries after a lost race. `tokenLifetime` in seconds.
 */
export async function migrate(
  database: Database,
  tokenLifetime: number,
  migrateAuth: () => Promise<void>,
): Promise<void> {
  await database.withMigrationLock(async () => {
    for (let retriesLeft = 10; ; retriesLeft--) {
      try {
        await migrateAuth()
        break
      } catch (error) {
        // Two processes on one SQLite file: the other created the table first. Retry, which creates only what is missing.
        if (database.type !== "sqlite" || retriesLeft === 0 || !isMigrationRace(error)) throw error
        await delay(200)
      }
    }
    await database.kysely.schema
      .createTable("logout_notice")
      .ifNotExists()
      .addColumn("sid", "text", (column) => column.primaryKey())
      .addColumn("sub", "text", (column) => column.notNull())
      .addColumn("attempts", "integer", (column) => column.notNull())
      .addColumn("next_at", "bigint", (column) => column.notNull())
      .addColumn("forget_at", "bigint", (column) => column.notNull())
      .execute()
    await database.kysely.schema
      .createIndex("logout_notice_next_at")
      .ifNotExists()
      .on("logout_notice")
      .column("next_at")
      .execute()
    await database.kysely.schema
      .createTable("account_deletion")
      .ifNotExists()
      .addColumn("user_id", "text", (column) => column.primaryKey())
      .addColumn("erase_at", "bigint", (column) => column.notNull())
      .execute()
    await database.createTrigger(tokenLifetime)
  })
}

/** Return whether an error of SQLite shows that another process migrates the same file. */
function isMigrationRace(error: unknown): boolean {
  return error instanceof Error && /already exists|duplicate column|locked|SQLITE_BUSY/i.test(error.message)
}
