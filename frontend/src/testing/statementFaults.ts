import { Sqlite3Client } from "@libsql/client/sqlite3"
import { Client } from "pg"
import { vi } from "vitest"

// Test fixture: make one SQL statement fail in the driver of either database.

export type Fault = Readonly<{
  /** Return whether the statement has failed. */
  happened: () => boolean
  /** Remove the fault: all statements pass from now on. */
  end: () => void
}>

/** Make the nth statement that matches fail before it reaches the database. */
export function failStatement(match: RegExp, nth = 1): Fault {
  let seen = 0
  const fails = (statement: unknown) => {
    const text = typeof statement === "string" ? statement : (statement as { sql?: string }).sql
    return match.test(text ?? "") && ++seen === nth
  }
  const query = Client.prototype.query as (...args: unknown[]) => unknown
  const execute = Sqlite3Client.prototype.execute as (...args: unknown[]) => Promise<unknown>
  const spies = [
    vi.spyOn(Client.prototype as { query: typeof query }, "query").mockImplementation(function (
      this: Client,
      ...args
    ) {
      return fails(args[0]) ? Promise.reject(new Error("injected fault")) : query.apply(this, args)
    }),
    vi
      .spyOn(Sqlite3Client.prototype as { execute: typeof execute }, "execute")
      .mockImplementation(async function (this: Sqlite3Client, ...args) {
        if (fails(args[0])) throw new Error("injected fault")
        return execute.apply(this, args)
      }),
  ]
  return {
    happened: () => seen >= nth,
    end: () => {
      for (const spy of spies) spy.mockRestore()
    },
  }
}
