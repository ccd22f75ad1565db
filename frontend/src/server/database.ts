import { closeSync, mkdirSync, openSync } from "node:fs"
import path from "node:path"
import { pathToFileURL } from "node:url"
import { setTimeout as delay } from "node:timers/promises"
import { createClient } from "@libsql/client"
import { LibsqlDialect, type libsql } from "@libsql/kysely-libsql"
import { Kysely, PostgresDialect, sql } from "kysely"
import { Pool } from "pg"
import { guardSessions } from "./session-guard"
import { postgresqlTrigger, sqliteTrigger, TRIGGER } from "./session-trigger"
import type { DatabasePlace } from "./settings"

/**
 * A session has ended and the API does not know yet. Rows are inserted by a trigger on the table of the sessions.
 * Times are milliseconds since 1970.
 */
export type NoticeTable = {
  sid: string
  sub: string
  attempts: number
  next_at: number
  forget_at: number
}

/** An account is being deleted, or was and its data is erased once more at `erase_at` (milliseconds since 1970). */
export type DeletionTable = { user_id: string; erase_at: number }

export type Tables = { logout_notice: NoticeTable; account_deletion: DeletionTable }

export type Database = Readonly<{
  kysely: Kysely<Tables>
  type: "sqlite" | "postgres"
  /** Whether Better Auth may wrap several writes in a transaction. */
  transaction: boolean
  /** Runs `work` while no other process runs its own. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
  /** Creates or replaces the trigger that records ended sessions; `tokenLifetime` in seconds. */
  createTrigger(tokenLifetime: number): Promise<void>
  reachable(): Promise<boolean>
  close(): Promise<void>
}>

export function openDatabase(place: DatabasePlace): Database {
  return place.kind === "file" ? openFile(place.path) : openPostgresql(place.url)
}

function openFile(file: string): Database {
  // Password hashes and private keys: for the owner only. SQLite gives its other files the mode of this one.
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  closeSync(openSync(file, "a", 0o600))
  const client = createClient({ url: pathToFileURL(file).href, timeout: 5000 })
  // Stays in the file. Readers then do not wait for the writer, nor the writer for them.
  const mode = client.execute("PRAGMA journal_mode = WAL")
  mode.catch(() => undefined) // it is reported where it is awaited
  // The dialect brings the types of an older client, which differ in `sync()`; that is for replicas, and unused.
  const dialect = new LibsqlDialect({ client: client as libsql.Client })
  const kysely = new Kysely<Tables>({ dialect: guardSessions(dialect) })
  return {
    kysely,
    type: "sqlite",
    // A transaction of libsql holds the one write lock across awaits, and whoever else writes in this process would
    // wait for it without giving the event loop back: both stand still until the timeout.
    transaction: false,
    // Processes that share a file are rare (two `next` in one folder); `migrate` copes with losing a race.
    exclusively: async (work) => {
      await mode
      return work()
    },
    createTrigger: async (tokenLifetime) => {
      const statement = sqliteTrigger(tokenLifetime)
      const named = {
        sql: "select sql from sqlite_master where type = 'trigger' and name = ?",
        args: [TRIGGER],
      }
      const [existing] = (await client.execute(named)).rows
      // A batch is one transaction: sessions that another process deletes are recorded by the old or the new one.
      if (existing?.sql !== statement)
        await client.batch([`drop trigger if exists ${TRIGGER}`, statement], "write")
    },
    reachable: () => answers(kysely),
    close: async () => {
      await kysely.destroy()
      client.close()
    },
  }
}

// Any number, as long as it is always this one.
const ADVISORY_LOCK = 4_077_220_716

function openPostgresql(url: string): Database {
  const pool = new Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 3000,
    query_timeout: 10_000,
    keepAlive: true,
  })
  // A connection that breaks announces it, and unheard that would end the process: the pool hears those that are idle,
  // and nobody those in use between two queries, as in a transaction. The next query fails, or gets another one.
  pool.on("error", (error) => console.warn(`A connection to the database broke: ${error.message}`))
  pool.on("connect", (client) => client.on("error", () => undefined))
  const kysely = new Kysely<Tables>({ dialect: guardSessions(new PostgresDialect({ pool })) })
  return {
    kysely,
    type: "postgres",
    transaction: true,
    // A lock of a transaction, not of a session: it also holds through a pooler, and goes with a broken connection.
    exclusively: (work) =>
      kysely.transaction().execute(async (lock) => {
        await sql`select pg_advisory_xact_lock(${ADVISORY_LOCK})`.execute(lock)
        return work()
      }),
    createTrigger: async (tokenLifetime) => {
      await sql.raw(postgresqlTrigger(tokenLifetime)).execute(kysely)
      // Not replaced where it exists, because that would wait for every transaction that uses the table.
      const existing = sql`select from pg_trigger where tgname = ${TRIGGER} and tgrelid = '"session"'::regclass`
      if ((await existing.execute(kysely)).rows.length === 0)
        await sql
          .raw(
            `create trigger ${TRIGGER} after delete on "session" for each row execute function ${TRIGGER}()`,
          )
          .execute(kysely)
    },
    reachable: () => answers(kysely),
    close: () => kysely.destroy(),
  }
}

async function answers(kysely: Kysely<Tables>): Promise<boolean> {
  const asked = sql`select 1`.execute(kysely).then(
    () => true,
    () => false,
  )
  return Promise.race([asked, delay(2000, false, { ref: false })])
}

/** Makes what is missing. `migrateAuth` brings the tables of Better Auth up to date; ours are made here. */
export async function migrate(
  database: Database,
  tokenLifetime: number,
  migrateAuth: () => Promise<void>,
): Promise<void> {
  await database.exclusively(async () => {
    for (let left = 10; ; left--) {
      try {
        await migrateAuth()
        break
      } catch (error) {
        // Two processes on one SQLite file: the other one made the table first. Look again what is still missing.
        if (database.type !== "sqlite" || left === 0 || !lostRace(error)) throw error
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

function lostRace(error: unknown): boolean {
  return error instanceof Error && /already exists|duplicate column|locked|SQLITE_BUSY/i.test(error.message)
}
