import { setTimeout as delay } from "node:timers/promises"
import type { AuthContext } from "better-auth"
import { APIError } from "better-auth/api"
import type { Kysely } from "kysely"
import { eraseData, hasNoData } from "./api-data"
import { credentialIsCurrent } from "./credentials"
import type { Tables } from "./database"
import type { Outbox } from "./outbox"
import type { Settings } from "./settings"

/** Milliseconds until no API worker accepts a token of an ended session any more: twice the API's bound of 0.5 s. */
const TOKEN_CACHE_DELAY = 1000
/** Erasures in a row that find new data before the deletion fails. */
const MAX_ERASURES = 5
/**
 * Milliseconds between the deletion of an account and the final erasure of its data. Longer than the API takes to receive
 * and process a request (20 s and 5 s): a request that was authenticated before its session ended can write until then.
 */
const FINAL_ERASURE_DELAY = 60_000
/** Milliseconds between two polls for final erasures that are due. */
const POLL_INTERVAL = 10_000
/** Final erasures per poll. */
const BATCH_SIZE = 50

/** Erases the data of a user at the API when the account is deleted, including data that is written meanwhile. */
export class AccountDeletions {
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()

  constructor(
    private readonly database: Kysely<Tables>,
    private readonly settings: Settings,
    private readonly outbox: Outbox,
    private readonly context: () => Promise<AuthContext>,
  ) {}

  /**
   * End all sessions of a user at the API and erase the user's data there. Call it before the account is deleted.
   *
   * From this call on no session can be created for the user. Throws 503 if the API fails, and the account must be kept:
   * TASKS_NOT_ERASED if the API is unreachable, and nothing has changed; SIGNED_OUT_TASKS_NOT_ERASED if it fails later,
   * and the user is signed out everywhere.
   */
  async prepare(userId: string): Promise<void> {
    const context = await this.context()
    if (!(await credentialIsCurrent(context, userId)))
      throw new APIError("BAD_REQUEST", { code: "INVALID_PASSWORD", message: "Invalid password" })
    try {
      await hasNoData(context, this.settings, userId) // only to check that the API responds
    } catch (error) {
      throw erasureFailed(error, "TASKS_NOT_ERASED")
    }
    await this.#scheduleFinalErasure(userId)
    try {
      await context.internalAdapter.deleteUserSessions(userId)
    } catch (error) {
      await this.#deleteRow(userId)
      throw error
    }
    try {
      if (!(await this.outbox.deliverAllOfUser(userId)))
        throw new Error("the API did not accept a logout token")
      await this.#eraseUntilEmpty(context, userId)
    } catch (error) {
      await this.#deleteRow(userId)
      throw erasureFailed(error, "SIGNED_OUT_TASKS_NOT_ERASED")
    }
  }

  /** Return whether the account of a user is being deleted. */
  async isInProgress(userId: string): Promise<boolean> {
    const row = await this.database
      .selectFrom("account_deletion")
      .select("erase_at")
      .where("user_id", "=", userId)
      .executeTakeFirst()
    // An older row was left by a process that was killed, or the account is already deleted.
    return row !== undefined && Number(row.erase_at) > Date.now()
  }

  /** Start to poll for final erasures that are due, in the background. */
  start(): void {
    this.#timer ??= setInterval(() => {
      this.#round = this.#round
        .then(() => this.runDueErasures())
        .catch((error: unknown) => {
          console.error(`Final erasures failed: ${error instanceof Error ? error.message : error}`)
        })
    }, POLL_INTERVAL)
    this.#timer.unref()
  }

  /** Stop polling, after the erasures that are in progress. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#round
  }

  /** Run the final erasures that are due, and delete the rows of deletions that failed. */
  async runDueErasures(): Promise<void> {
    const due = await this.database
      .selectFrom("account_deletion")
      .selectAll()
      .where("erase_at", "<=", Date.now())
      .orderBy("erase_at")
      .limit(BATCH_SIZE)
      .execute()
    for (const { user_id, erase_at } of due) {
      // Claims the row for this process; also the time of the retry if this erasure fails.
      const next = Date.now() + FINAL_ERASURE_DELAY
      const { numUpdatedRows } = await this.database
        .updateTable("account_deletion")
        .set({ erase_at: next })
        .where("user_id", "=", user_id)
        .where("erase_at", "=", erase_at)
        .executeTakeFirstOrThrow()
      if (numUpdatedRows === 0n) continue
      const context = await this.context()
      if (!(await context.internalAdapter.findUserById(user_id)))
        await eraseData(context, this.settings, user_id)
      await this.#deleteRow(user_id, next)
    }
  }

  /** Erase the data and check that none is left, up to MAX_ERASURES times; throws if new data still arrives. */
  async #eraseUntilEmpty(context: AuthContext, userId: string): Promise<void> {
    for (let round = 0; round < MAX_ERASURES; round++) {
      await delay(TOKEN_CACHE_DELAY)
      await this.#scheduleFinalErasure(userId)
      await eraseData(context, this.settings, userId)
      if (await hasNoData(context, this.settings, userId)) return
    }
    throw new Error(`new data arrived after each of ${MAX_ERASURES} erasures`)
  }

  /** Insert or update the row that marks the deletion as in progress and schedules the final erasure. */
  async #scheduleFinalErasure(userId: string): Promise<void> {
    const erase_at = Date.now() + FINAL_ERASURE_DELAY
    await this.database
      .insertInto("account_deletion")
      .values({ user_id: userId, erase_at })
      .onConflict((conflict) => conflict.column("user_id").doUpdateSet({ erase_at }))
      .execute()
  }

  /** Delete the row of a deletion; with `eraseAt`, only if no other deletion of the account has begun since. */
  async #deleteRow(userId: string, eraseAt?: number): Promise<void> {
    const row = this.database.deleteFrom("account_deletion").where("user_id", "=", userId)
    await (eraseAt === undefined ? row : row.where("erase_at", "=", eraseAt)).execute()
  }
}

/** Log the reason and return the 503 with the given code. */
function erasureFailed(error: unknown, code: string): APIError {
  const reason = error instanceof Error ? error.message : String(error)
  console.error(`The tasks of an account could not be erased before its deletion: ${reason}`)
  return new APIError("SERVICE_UNAVAILABLE", {
    code,
    message: "Your tasks could not be erased, so your account was not deleted. Please try again shortly.",
  })
}
