import type { DatabaseConnection, Dialect, Driver } from "kysely"
import { requestState } from "./request-state"

const DELETE_SESSIONS_SQL = /^\s*delete\s+from\s+"session"/i

/**
 * Wrap a Kysely dialect so that it refuses to delete sessions in a request in which an earlier statement failed.
 *
 * Better Auth reads the sessions before it deletes them, ignores an error of that read, and deletes them without
 * calling the hooks that send logout tokens at once. The request then has to fail instead. After a password change the
 * sessions are deleted in any case: otherwise sessions that were signed in with the old password would stay. The
 * trigger of `session-trigger.ts` records their logout tokens.
 */
export function guardSessionDeletes(dialect: Dialect): Dialect {
  return {
    createAdapter: () => dialect.createAdapter(),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createIntrospector: (kysely) => dialect.createIntrospector(kysely),
    createDriver: () => guardDriver(dialect.createDriver()),
  }
}

/** Wrap the connections of a driver, and record a failure to acquire one. */
function guardDriver(driver: Driver): Driver {
  const acquire = driver.acquireConnection.bind(driver)
  const guarded = new WeakSet<DatabaseConnection>()
  driver.acquireConnection = async () => {
    const connection = await recordFailure(acquire())
    // The PostgreSQL driver returns the same connection objects again and keeps private members on them, so wrap each once.
    if (!guarded.has(connection)) guardConnection(connection)
    guarded.add(connection)
    return connection
  }
  return driver
}

/** Replace `executeQuery` of a connection by one that records failures and refuses deletions after one. */
function guardConnection(connection: DatabaseConnection): void {
  const execute = connection.executeQuery.bind(connection)
  connection.executeQuery = async (query) => {
    const state = requestState()
    if (state?.statementFailed && !state.credentialChanged && DELETE_SESSIONS_SQL.test(query.sql))
      throw new Error("No session was deleted, because an earlier statement of this request failed.")
    return recordFailure(execute(query))
  }
}

/** Set `statementFailed` of the current request if the promise rejects. */
async function recordFailure<T>(result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    const state = requestState()
    if (state) state.statementFailed = true
    throw error
  }
}
