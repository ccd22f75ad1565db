import { setTimeout as delay } from "node:timers/promises"
import type { Kysely } from "kysely"
import type { NoticeTable, Tables } from "./database"
import { requestState, withRequestState } from "./request-state"
import type { EndedSession, Outcome } from "./logout-token"

/** Longer than any try takes: a notice that is being sent is not due for anybody else meanwhile. */
const LEASE = 10_000
const FIRST_RETRY = 1000
const SLOWEST_RETRY = 60_000
/** How long a request waits for its own notices, all together. */
const PATIENCE = 1000
/** How often to look for notices other processes left behind. */
const IDLE = 5000
const BATCH = 50

type Claim = Pick<NoticeTable, "sid" | "sub" | "attempts">

/**
 * Sends the logout tokens of ended sessions to the API. A trigger records each ended session in the transaction that
 * deletes it (`session-trigger.ts`), so neither an unreachable API nor a crash loses one. Any number of processes may
 * share the table: a row is claimed before it is sent.
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
    private readonly send: (session: EndedSession) => Promise<Outcome>,
  ) {}

  /**
   * Send the logout token of a session at once; to be called when the session was deleted. Never throws, and does not
   * wait for the API. If it fails, or is never called, the next round sends it.
   */
  async sessionEnded(session: Readonly<{ id: string; userId: string }>): Promise<void> {
    try {
      const notice = await this.#claim({ sid: session.id, sub: session.userId, attempts: 0 })
      if (!notice) return // another process was faster, or all tokens of the session have expired
      const sent = this.#deliver(notice).catch((error: unknown) => this.#complain(String(error)))
      requestState()?.sends.push(sent)
      this.#underway.add(sent)
      void sent.finally(() => this.#underway.delete(sent))
    } catch (error) {
      this.#complain(`A sign-out is sent later: ${error instanceof Error ? error.message : error}`)
    }
  }

  /**
   * Run `work`, then wait up to `PATIENCE` for the logout tokens that it caused, so that the sign-out is usually in
   * effect at the API when the browser gets the response. Once per request, not per session: an API that does not
   * answer delays the response once.
   */
  async attend<T>(work: () => Promise<T>): Promise<T> {
    return withRequestState(async ({ sends }) => {
      const result = await work()
      if (sends.length > 0)
        await Promise.race([Promise.all(sends), delay(PATIENCE, undefined, { ref: false })])
      return result
    })
  }

  /** Send all pending logout tokens of a user, and return whether the API has accepted every one. */
  async deliverAllOf(sub: string): Promise<boolean> {
    await Promise.all(requestState()?.sends ?? [])
    const pending = () =>
      this.database.selectFrom("logout_notice").selectAll().where("sub", "=", sub).execute()
    for (const notice of await pending()) {
      const claimed = await this.#claim(notice)
      if (claimed && (await this.#deliver(claimed)) !== "delivered") return false
    }
    return (await pending()).length === 0
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

  /** Claim a notice for this process; undefined if another one was faster or the notice no longer exists. */
  async #claim(notice: Claim): Promise<Claim | undefined> {
    const claimed = { ...notice, attempts: Number(notice.attempts) + 1 }
    const { numUpdatedRows } = await this.database
      .updateTable("logout_notice")
      .set({ attempts: claimed.attempts, next_at: Date.now() + LEASE })
      .where("sid", "=", notice.sid)
      .where("attempts", "=", notice.attempts)
      .executeTakeFirstOrThrow()
    return numUpdatedRows > 0 ? claimed : undefined
  }

  async #deliver(notice: Claim): Promise<Outcome["kind"]> {
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
