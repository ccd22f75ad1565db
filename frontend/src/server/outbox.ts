import { setTimeout as delay } from "node:timers/promises"
import type { Kysely } from "kysely"
import type { LogoutNoticeTable, Tables } from "./database"
import type { DeliveryResult, EndedSession } from "./logout-token"
import { requestState, withRequestState } from "./request-state"

/** Milliseconds for which a claimed notice is not due for other processes; longer than an attempt takes. */
const CLAIM_TIME = 10_000
/** Milliseconds; doubled after each attempt up to the maximum. */
const MIN_RETRY_DELAY = 1000
const MAX_RETRY_DELAY = 60_000
/** Milliseconds that a request waits for the delivery of its own logout tokens, all together. */
const MAX_RESPONSE_DELAY = 1000
/** Milliseconds between two polls for notices that other processes have left. */
const POLL_INTERVAL = 5000
/** Notices per round. */
const BATCH_SIZE = 50

type Notice = Pick<LogoutNoticeTable, "sid" | "sub" | "attempts">

/**
 * Sends the logout tokens of ended sessions to the API. A trigger records each ended session in the transaction that
 * deletes it (`session-trigger.ts`), so neither an unreachable API nor a crash loses one. Any number of processes may
 * share the table: a row is claimed before it is sent.
 */
export class Outbox {
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> = Promise.resolve()
  #running = false
  #lastError = ""
  readonly #deliveries = new Set<Promise<unknown>>()

  constructor(
    private readonly database: Kysely<Tables>,
    private readonly send: (session: EndedSession) => Promise<DeliveryResult>,
  ) {}

  /**
   * Send the logout token of a session at once; to be called when the session was deleted. Never throws, and does not
   * wait for the API. If it fails, or is never called, the next round sends it.
   */
  async sessionEnded(session: Readonly<{ id: string; userId: string }>): Promise<void> {
    try {
      const notice = await this.#claim({ sid: session.id, sub: session.userId, attempts: 0 })
      if (!notice) return // another process has claimed it, or all tokens of the session have expired
      const sent = this.#deliver(notice).catch((error: unknown) => this.#logOnce(String(error)))
      requestState()?.deliveries.push(sent)
      this.#deliveries.add(sent)
      void sent.finally(() => this.#deliveries.delete(sent))
    } catch (error) {
      this.#logOnce(
        `The logout token of a session is sent later: ${error instanceof Error ? error.message : error}`,
      )
    }
  }

  /**
   * Run `work`, then wait up to MAX_RESPONSE_DELAY for the delivery of the logout tokens that it caused, so that the
   * sign-out is usually in effect at the API when the browser gets the response. The limit is for the request, not for each
   * session: an API that does not respond delays the response once. `traceparent` is that header of the request.
   */
  async runAndDeliver<T>(work: () => Promise<T>, traceparent?: string): Promise<T> {
    return withRequestState(async ({ deliveries }) => {
      const result = await work()
      if (deliveries.length > 0)
        await Promise.race([Promise.all(deliveries), delay(MAX_RESPONSE_DELAY, undefined, { ref: false })])
      return result
    }, traceparent)
  }

  /** Send all pending logout tokens of a user, and return whether the API has accepted every one. */
  async deliverAllOfUser(sub: string): Promise<boolean> {
    await Promise.all(requestState()?.deliveries ?? [])
    const pending = () =>
      this.database.selectFrom("logout_notice").selectAll().where("sub", "=", sub).execute()
    for (const notice of await pending()) {
      const claimed = await this.#claim(notice)
      if (claimed && (await this.#deliver(claimed)) !== "delivered") return false
    }
    return (await pending()).length === 0
  }

  /** Start the rounds that deliver pending logout tokens in the background. */
  start(): void {
    if (this.#running) return
    this.#running = true
    this.#scheduleRound(0)
  }

  /** Stop the rounds, after the deliveries that are in progress. */
  async stop(): Promise<void> {
    this.#running = false
    clearTimeout(this.#timer)
    await this.#round
    await Promise.all(this.#deliveries)
  }

  /** Schedule the next round, in place of one that is scheduled already. */
  #scheduleRound(delay: number): void {
    if (!this.#running) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#round = this.#round.then(() => this.#runRound())
    }, delay)
    this.#timer.unref()
  }

  /** Deliver what is due and schedule the next round: when the next notice is due, at most POLL_INTERVAL later. */
  async #runRound(): Promise<void> {
    let pause = POLL_INTERVAL
    try {
      await this.deliverDue()
      const next = await this.database
        .selectFrom("logout_notice")
        .select((table) => table.fn.min("next_at").as("at"))
        .executeTakeFirst()
      // The driver of PostgreSQL returns a bigint as a string.
      if (next?.at) pause = Math.min(POLL_INTERVAL, Math.max(100, Number(next.at) - Date.now()))
    } catch (error) {
      this.#logOnce(
        `The table logout_notice cannot be read: ${error instanceof Error ? error.message : error}`,
      )
    }
    this.#scheduleRound(pause)
  }

  /** Deliver the notices that are due, at most BATCH_SIZE. Public for tests. */
  async deliverDue(): Promise<void> {
    await this.#deleteExpired()
    const due = await this.database
      .selectFrom("logout_notice")
      .selectAll()
      .where("next_at", "<=", Date.now())
      .orderBy("next_at")
      .limit(BATCH_SIZE)
      .execute()
    for (const notice of due) {
      const claimed = await this.#claim(notice)
      // An API that is unavailable for one notice is unavailable for all. The failed notice moves to the end of the queue.
      if (claimed && (await this.#deliver(claimed)) === "unavailable") break
    }
  }

  /** Delete notices of sessions whose tokens have all expired. */
  async #deleteExpired(): Promise<void> {
    const { numDeletedRows } = await this.database
      .deleteFrom("logout_notice")
      .where("forget_at", "<=", Date.now())
      .executeTakeFirstOrThrow()
    if (numDeletedRows > 0)
      console.warn(
        `${numDeletedRows} logout tokens were never accepted by the API; the access tokens of these sessions have expired.`,
      )
  }

  /** Claim a notice for this process; undefined if another process has claimed it or the notice no longer exists. */
  async #claim(notice: Notice): Promise<Notice | undefined> {
    const claimed = { ...notice, attempts: Number(notice.attempts) + 1 }
    const { numUpdatedRows } = await this.database
      .updateTable("logout_notice")
      .set({ attempts: claimed.attempts, next_at: Date.now() + CLAIM_TIME })
      .where("sid", "=", notice.sid)
      .where("attempts", "=", notice.attempts)
      .executeTakeFirstOrThrow()
    return numUpdatedRows > 0 ? claimed : undefined
  }

  /** Send the logout token of a claimed notice: delete the notice, or schedule the next attempt. */
  async #deliver(notice: Notice): Promise<DeliveryResult["kind"]> {
    const outcome = await this.send({ sid: notice.sid, sub: notice.sub }).catch(
      (error: unknown): DeliveryResult => ({
        kind: "unavailable",
        reason: `signing failed: ${String(error)}`,
      }),
    )
    if (outcome.kind === "delivered") {
      await this.database.deleteFrom("logout_notice").where("sid", "=", notice.sid).execute()
      if (this.#lastError !== "") console.info("The API accepts logout tokens again.")
      this.#lastError = ""
      return outcome.kind
    }
    this.#logOnce(
      outcome.kind === "refused"
        ? `The API refuses a logout token (${outcome.reason}). Do the API and this server agree on secret or keys, issuer and audience? It is kept and sent again.`
        : `A logout token did not reach the API (${outcome.reason}). It is kept and sent again.`,
    )
    const pause =
      outcome.kind === "refused"
        ? MAX_RETRY_DELAY
        : Math.min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** Math.min(notice.attempts - 1, 16))
    await this.database
      .updateTable("logout_notice")
      .set({ next_at: Date.now() + pause })
      .where("sid", "=", notice.sid)
      .where("attempts", "=", notice.attempts)
      .execute()
    // Retry the failed notice when it is due and not only at the next poll.
    this.#scheduleRound(Math.min(pause, POLL_INTERVAL))
    return outcome.kind
  }

  /** Log an error unless it is the same as the last one, so that an outage does not log a line for each attempt. */
  #logOnce(message: string): void {
    if (message === this.#lastError) return
    this.#lastError = message
    console.error(message)
  }
}
