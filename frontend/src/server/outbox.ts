import { AsyncLocalStorage } from "node:async_hooks"
import { setTimeout as delay } from "node:timers/promises"
import type { Kysely } from "kysely"
import type { NoticeTable, Tables } from "./database"
import type { EndedSession, Outcome } from "./signout"

/** Longer than any try takes: a notice that is being sent is not due for anybody else meanwhile. */
const LEASE = 10_000
const FIRST_RETRY = 1000
const SLOWEST_RETRY = 60_000
/** How long a request waits for its own notices, all together. */
const PATIENCE = 1000
/** How often to look for notices other processes left behind. */
const IDLE = 5000
const BATCH = 50
/** Clocks differ, and a request that began before the sign-out may still sign a token after it. */
const MARGIN = 60_000

/** The sends that the request at hand began. */
const begun = new AsyncLocalStorage<Promise<unknown>[]>()

/**
 * Sign-outs that the API has not heard of yet, kept beside the sessions, so that neither an API that is away nor a
 * restart of ours loses one. Any number of processes may share the table: a row is claimed before it is sent.
 */
export class Outbox {
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()
  #running = false
  #complaint = ""
  #blind = false
  readonly #underway = new Set<Promise<unknown>>()

  constructor(
    private readonly database: Kysely<Tables>,
    private readonly tokenLifetime: number,
    private readonly send: (session: EndedSession) => Promise<Outcome>,
  ) {}

  /** To be called when a session is gone. Never throws, and never waits for the API. */
  async sessionEnded(session: { id: string; userId: string; expiresAt: Date }): Promise<void> {
    const now = Date.now()
    const lastToken = Math.min(now, session.expiresAt.getTime()) + this.tokenLifetime * 1000
    if (lastToken <= now) return // it expired long ago, and so did every token of it
    const notice: NoticeTable = {
      sid: session.id,
      sub: session.userId,
      attempts: 1,
      next_at: now + LEASE,
      forget_at: lastToken + MARGIN,
    }
    try {
      const { numInsertedOrUpdatedRows } = await this.database
        .insertInto("logout_notice")
        .values(notice)
        .onConflict((conflict) => conflict.column("sid").doNothing())
        .executeTakeFirstOrThrow()
      if (numInsertedOrUpdatedRows === 0n) return // two requests ended it at once, and the other one was first
    } catch (error) {
      console.error(
        "A sign-out could not be recorded. If the API misses it now, it will not be told again.",
        error,
      )
    }
    const sent = this.#deliver(notice).catch((error: unknown) => this.#complain(String(error)))
    begun.getStore()?.push(sent)
    this.#underway.add(sent)
    void sent.finally(() => this.#underway.delete(sent))
  }

  /**
   * Runs `work`, then gives the notices it caused a moment to arrive, so that a sign-out counts at the API when the
   * browser hears of it. Once for the request, not for each session: an API that hangs costs one moment in all.
   */
  async attend<T>(work: () => Promise<T>): Promise<T> {
    const sends: Promise<unknown>[] = []
    const result = await begun.run(sends, work)
    if (sends.length > 0) await Promise.race([Promise.all(sends), delay(PATIENCE, undefined, { ref: false })])
    return result
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    this.#wake(0)
  }

  async stop(): Promise<void> {
    this.#running = false
    clearTimeout(this.#timer)
    await this.#round
    await Promise.all(this.#underway)
  }

  #wake(after: number): void {
    if (!this.#running) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#round = this.#round.then(() => this.#tend())
    }, after)
    this.#timer.unref()
  }

  async #tend(): Promise<void> {
    let wait = IDLE
    try {
      await this.deliverDue()
      const next = await this.database
        .selectFrom("logout_notice")
        .select((table) => table.fn.min("next_at").as("at"))
        .executeTakeFirst()
      // PostgreSQL hands a bigint over as text.
      if (next?.at) wait = Math.min(IDLE, Math.max(100, Number(next.at) - Date.now()))
    } catch (error) {
      this.#complain(
        `The table of sign-outs cannot be read: ${error instanceof Error ? error.message : error}`,
      )
    }
    this.#wake(wait)
  }

  /** One round over what is due. Public for those who drive the clock themselves. */
  async deliverDue(): Promise<void> {
    await this.#forget()
    const due = await this.database
      .selectFrom("logout_notice")
      .selectAll()
      .where("next_at", "<=", Date.now())
      .orderBy("next_at")
      .limit(BATCH)
      .execute()
    for (const notice of due) {
      const claimed = await this.#claim(notice)
      // When the API is away for one it is away for all; each gets its turn to be the one that asks.
      if (claimed && (await this.#deliver(claimed)) === "away") break
    }
  }

  async #forget(): Promise<void> {
    const { numDeletedRows } = await this.database
      .deleteFrom("logout_notice")
      .where("forget_at", "<=", Date.now())
      .executeTakeFirstOrThrow()
    if (numDeletedRows > 0)
      console.warn(`${numDeletedRows} sign-outs never reached the API; their tokens have expired by now.`)
  }

  /** Takes the notice for this process, if nobody else was faster. */
  async #claim(notice: NoticeTable): Promise<NoticeTable | undefined> {
    const claimed = { ...notice, attempts: Number(notice.attempts) + 1, next_at: Date.now() + LEASE }
    const { numUpdatedRows } = await this.database
      .updateTable("logout_notice")
      .set({ attempts: claimed.attempts, next_at: claimed.next_at })
      .where("sid", "=", notice.sid)
      .where("attempts", "=", notice.attempts)
      .executeTakeFirstOrThrow()
    return numUpdatedRows > 0 ? claimed : undefined
  }

  async #deliver(notice: NoticeTable): Promise<Outcome["kind"]> {
    const outcome = await this.send({ sid: notice.sid, sub: notice.sub }).catch(
      (error: unknown): Outcome => ({ kind: "away", reason: `it could not be signed: ${String(error)}` }),
    )
    if (outcome.kind === "delivered") {
      await this.database.deleteFrom("logout_notice").where("sid", "=", notice.sid).execute()
      if (this.#complaint !== "") console.info("The API takes sign-outs again.")
      this.#complaint = ""
      return outcome.kind
    }
    this.#complain(
      outcome.kind === "refused"
        ? `The API refuses a sign-out (${outcome.reason}). Do the API and this server agree on secret or keys, issuer and audience? It is kept and tried again.`
        : `A sign-out did not reach the API (${outcome.reason}). It is kept and tried again.`,
    )
    const pause =
      outcome.kind === "refused"
        ? SLOWEST_RETRY
        : Math.min(SLOWEST_RETRY, FIRST_RETRY * 2 ** Math.min(notice.attempts - 1, 16))
    await this.database
      .updateTable("logout_notice")
      .set({ next_at: Date.now() + pause })
      .where("sid", "=", notice.sid)
      .where("attempts", "=", notice.attempts)
      .execute()
    // Sooner than the next idle look, for the one that just failed.
    this.#wake(Math.min(pause, IDLE))
    return outcome.kind
  }

  /** An outage is one line in the log, not one for each try. */
  #complain(complaint: string): void {
    if (complaint === this.#complaint) return
    this.#complaint = complaint
    console.error(complaint)
  }
}
