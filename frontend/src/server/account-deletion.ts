import { setTimeout as delay } from "node:timers/promises"
import type { AuthContext } from "better-auth"
import { APIError } from "better-auth/api"
import type { Kysely } from "kysely"
import { eraseData, hasNoData } from "./api-data"
import { credentialIsCurrent } from "./credentials"
import type { Tables } from "./database"
import type { Outbox } from "./outbox"
import type { Settings } from "./settings"

/** How long a worker of the API may still accept a token of an ended session (0.5 s), twice. Milliseconds. */
const SETTLE = 1000
/** How often the data is erased while new data arrives, before the deletion fails. */
const ROUNDS = 5
/**
 * When the data is erased once more after the account was deleted. Longer than the API takes to receive and answer a
 * request (20 s and 5 s): one that was authenticated before its session ended may write until then. Milliseconds.
 */
const FINAL_ERASURE = 60_000
/** How often to look for final erasures that are due. Milliseconds. */
const INTERVAL = 10_000
const BATCH = 50

/** Deletes the data of a user at the API when the account is deleted, including data that is written meanwhile. */
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
   * End all sessions of a user at the API and erase the data there; to be called before the account is deleted.
   *
   * No session can be created for the user from here on. Throws 503 if the API did not do its part: if it cannot be
   * reached nothing has changed; if it fails later the user is signed out everywhere. The account then stays.
   */
  async prepare(userId: string): Promise<void> {
    const context = await this.context()
    if (!(await credentialIsCurrent(context, userId)))
      throw new APIError("BAD_REQUEST", { code: "INVALID_PASSWORD", message: "Invalid password" })
    try {
      await hasNoData(context, this.settings, userId) // only to learn whether the API answers
    } catch (error) {
      throw notErased(error, "TASKS_NOT_ERASED")
    }
    await this.#schedule(userId)
    try {
      await context.internalAdapter.deleteUserSessions(userId)
    } catch (error) {
      await this.#cancel(userId)
      throw error
    }
    try {
      if (!(await this.outbox.deliverAllOf(userId))) throw new Error("the API did not take a logout token")
      await this.#eraseUntilEmpty(context, userId)
    } catch (error) {
      await this.#cancel(userId)
      throw notErased(error, "SIGNED_OUT_TASKS_NOT_ERASED")
    }
  }

  /** Whether the account of a user is being deleted. */
  async isUnderWay(userId: string): Promise<boolean> {
    const row = await this.database
      .selectFrom("account_deletion")
      .select("erase_at")
      .where("user_id", "=", userId)
      .executeTakeFirst()
    // A row that is older was left by a process that was killed, or the account is gone.
    return row !== undefined && Number(row.erase_at) > Date.now()
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#round = this.#round
        .then(() => this.eraseDue())
        .catch((error: unknown) => {
          console.error(`Final erasures failed: ${error instanceof Error ? error.message : error}`)
        })
    }, INTERVAL)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#round
  }

  /** Erase the data of deleted accounts once more where that is due, and forget deletions that failed. */
  async eraseDue(): Promise<void> {
    const due = await this.database
      .selectFrom("account_deletion")
      .selectAll()
      .where("erase_at", "<=", Date.now())
      .orderBy("erase_at")
      .limit(BATCH)
      .execute()
    for (const { user_id, erase_at } of due) {
      // Claims the row for this process, and is the time of the next try if this one fails.
      const next = Date.now() + FINAL_ERASURE
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
      await this.#cancel(user_id, next)
    }
  }

  async #eraseUntilEmpty(context: AuthContext, userId: string): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      await delay(SETTLE)
      await this.#schedule(userId)
      await eraseData(context, this.settings, userId)
      if (await hasNoData(context, this.settings, userId)) return
    }
    throw new Error(`new data arrived after each of ${ROUNDS} erasures`)
  }

  /** Record that the deletion is under way, and when the data is to be erased for the last time. */
  async #schedule(userId: string): Promise<void> {
    const erase_at = Date.now() + FINAL_ERASURE
    await this.database
      .insertInto("account_deletion")
      .values({ user_id: userId, erase_at })
      .onConflict((conflict) => conflict.column("user_id").doUpdateSet({ erase_at }))
      .execute()
  }

  /** Delete the row of a deletion; with `eraseAt`, only if no other deletion of the account began since. */
  async #cancel(userId: string, eraseAt?: number): Promise<void> {
    const row = this.database.deleteFrom("account_deletion").where("user_id", "=", userId)
    await (eraseAt === undefined ? row : row.where("erase_at", "=", eraseAt)).execute()
  }
}

function notErased(error: unknown, code: string): APIError {
  const reason = error instanceof Error ? error.message : String(error)
  console.error(`The tasks of an account that is to be deleted could not be erased: ${reason}`)
  return new APIError("SERVICE_UNAVAILABLE", {
    code,
    message: "Your tasks could not be erased, so your account was not deleted. Please try again shortly.",
  })
}
