import { decodeJwt } from "jose"
import type { Connection } from "./connection"
import { ApiError, SessionExpired, SessionOver, refusal, unanswered } from "./errors"

const TIMEOUT = 10_000
/** Milliseconds before its end at which a token is replaced; a short-lived one after four fifths of its life. */
const MARGIN = 30_000
/** Milliseconds between two questions whether an expired session is back, however many wait for it. */
const EXPIRED = 2_000

type Held = { token: string; renewAt: number; endsAt: number }

type Options = {
  url?: string
  /** Whether something would be lost with the page. Then an expired session is waited for and not given up. */
  holds?: () => boolean
  /** Called once, when no token will be had any more. */
  over?: (over: SessionOver) => void
}

/**
 * The access token of one user, kept in this object and nowhere else.
 *
 * Whoever asks while a new one is on its way waits for that one.
 */
export class AccessToken {
  #held: Held | undefined
  #coming: Promise<string> | undefined
  #over: SessionOver | undefined
  #expired: { error: SessionExpired; askAt: number } | undefined
  #signedOut = false
  #dropped = 0
  readonly #userId: string
  readonly #url: string
  readonly #connection: Connection
  readonly #holds: () => boolean
  readonly #tellOver: (over: SessionOver) => void

  constructor(
    userId: string,
    connection: Connection,
    { url = "/api/auth/token", holds = () => false, over = () => undefined }: Options = {},
  ) {
    this.#userId = userId
    this.#url = url
    this.#connection = connection
    this.#holds = holds
    this.#tellOver = over
  }

  /**
   * A token that is good for a while. Throws `SessionOver`, and `ApiError` if none can be had right now, which is
   * `SessionExpired` while the person is waited for.
   */
  async get(): Promise<string> {
    const held = this.#held
    if (this.#over) throw this.#over
    if (held && Date.now() < held.renewAt) return held.token
    if (this.#expired && Date.now() < this.#expired.askAt) throw this.#expired.error
    try {
      return await this.#next()
    } catch (error) {
      // The old one is still good; that the issuer is away for a moment need not concern anybody yet.
      const away = error instanceof ApiError && !(error instanceof SessionExpired)
      if (held && away && Date.now() < held.endsAt) return held.token
      throw error
    }
  }

  /** Another token than this one, which was refused. */
  async renew(refused: string): Promise<string> {
    if (this.#held?.token === refused) this.#held = undefined
    return this.get()
  }

  /** Ask at once whether an expired session is back. */
  async look(): Promise<void> {
    if (this.#expired) this.#expired.askAt = 0
    // Whatever comes of it is told to those who wait.
    await this.get().catch(() => undefined)
  }

  /** The person says to have signed out in another tab. If it is so, it was meant, and nothing is waited for. */
  async doubt(): Promise<void> {
    this.#signedOut = true
    this.drop()
    await this.look()
  }

  /** Keep nothing, not even what is on its way. */
  drop(): void {
    this.#held = undefined
    this.#coming = undefined
    this.#dropped++
  }

  /** Keep nothing, and ask for none any more. */
  end(over: SessionOver): SessionOver {
    this.drop()
    if (this.#over) return this.#over
    this.#over = over
    // What waits for a session learns that none will come.
    this.#connection.noteSession(true)
    this.#tellOver(over)
    return over
  }

  #next(): Promise<string> {
    if (this.#coming) return this.#coming
    const coming = this.#ask().finally(() => {
      if (this.#coming === coming) this.#coming = undefined
    })
    this.#coming = coming
    return coming
  }

  async #ask(): Promise<string> {
    const [asked, dropped] = [Date.now(), this.#dropped]
    const { response, body } = await this.#fetch()
    if (this.#over) throw this.#over
    if (response.status === 401) throw this.#ended()
    if (!response.ok) throw refusal(response, body)
    const token = tokenIn(body)
    const { sub, iat, exp } = claims(token)
    // The cookie belongs to whoever signed in last, in whichever tab; this page belongs to one person.
    if (sub !== this.#userId) throw this.end(new SessionOver("other-user"))
    // By the time it has to live and not by the hour: the clock of this machine may be wrong.
    const life = exp === undefined ? 0 : (exp - (iat ?? asked / 1000)) * 1000
    if (dropped === this.#dropped) {
      this.#held = { token, renewAt: asked + life - Math.min(MARGIN, life / 5), endsAt: asked + life }
      this.#expired = undefined
      this.#signedOut = false
      // Last, because whoever waited asks in the same moment.
      this.#connection.noteSession(true)
    }
    return token
  }

  #ended(): SessionOver | SessionExpired {
    if (this.#signedOut || !this.#holds()) return this.end(new SessionOver("expired"))
    const error = new SessionExpired()
    this.#held = undefined
    this.#expired = { error, askAt: Date.now() + EXPIRED }
    this.#connection.noteSession(false)
    return error
  }

  async #fetch(): Promise<{ response: Response; body: string }> {
    try {
      const response = await fetch(this.#url, {
        credentials: "include",
        cache: "no-store",
        headers: { Accept: "application/json" },
        signal: AbortSignal.timeout(TIMEOUT),
      })
      return { response, body: await response.text() }
    } catch (cause) {
      this.#connection.note(false)
      throw unanswered(cause)
    }
  }
}

function tokenIn(body: string): string {
  try {
    const { token } = JSON.parse(body) as { token?: unknown }
    if (typeof token === "string") return token
  } catch {
    // Not JSON: a page of a proxy, say.
  }
  throw strange()
}

function claims(token: string): { sub?: string; iat?: number; exp?: number } {
  try {
    return decodeJwt(token)
  } catch {
    throw strange()
  }
}

function strange(): ApiError {
  return new ApiError({ status: 500, code: "token", detail: "The answer holds no token." })
}
