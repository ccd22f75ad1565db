import { decodeJwt } from "jose"
import type { Connection } from "./connection"
import { ApiError, SessionOver, refusal, unanswered } from "./problem"

const TIMEOUT = 10_000
/** Milliseconds before its end at which a token is replaced; a short-lived one after four fifths of its life. */
const MARGIN = 30_000

type Held = { token: string; renewAt: number; endsAt: number }

/**
 * The access token of one user, kept in this object and nowhere else.
 *
 * Whoever asks while a new one is on its way waits for that one.
 */
export class AccessToken {
  #held: Held | undefined
  #coming: Promise<string> | undefined
  #over: SessionOver | undefined
  #dropped = 0
  readonly #userId: string
  readonly #url: string
  readonly #connection: Connection

  constructor(userId: string, connection: Connection, url = "/api/auth/token") {
    this.#userId = userId
    this.#url = url
    this.#connection = connection
  }

  /** A token that is good for a while. Throws `SessionOver`, and `ApiError` if none can be had right now. */
  async get(): Promise<string> {
    const held = this.#held
    if (this.#over) throw this.#over
    if (held && Date.now() < held.renewAt) return held.token
    try {
      return await this.#next()
    } catch (error) {
      // The old one is still good; that the issuer is away for a moment need not concern anybody yet.
      if (held && error instanceof ApiError && Date.now() < held.endsAt) return held.token
      throw error
    }
  }

  /** Another token than this one, which was refused. */
  async renew(refused: string): Promise<string> {
    if (this.#held?.token === refused) this.#held = undefined
    return this.get()
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
    this.#over ??= over
    return this.#over
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
    if (response.status === 401) throw this.end(new SessionOver("expired"))
    if (!response.ok) throw refusal(response, body)
    const token = tokenIn(body)
    const { sub, iat, exp } = claims(token)
    // The cookie belongs to whoever signed in last, in whichever tab; this page belongs to one person.
    if (sub !== this.#userId) throw this.end(new SessionOver("other-user"))
    // By the time it has to live and not by the hour: the clock of this machine may be wrong.
    const life = exp === undefined ? 0 : (exp - (iat ?? asked / 1000)) * 1000
    if (dropped === this.#dropped) {
      this.#held = { token, renewAt: asked + life - Math.min(MARGIN, life / 5), endsAt: asked + life }
    }
    return token
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
