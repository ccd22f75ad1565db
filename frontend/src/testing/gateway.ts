import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http"
import type { AddressInfo } from "node:net"
import { sign } from "./taskService"

export type Seen = {
  method: string
  url: string
  headers: IncomingMessage["headers"]
  body: string
  status: number
}
type Answer = { status: number; headers?: Record<string, string>; body?: unknown }

/** What stands between a page and the services: it passes requests on, or does what a network may do to them. */
export class Gateway {
  readonly seen: Seen[] = []
  /** Made up instead of passing on; undefined passes on. */
  intercept: (
    seen: Seen,
  ) => Answer | "hang" | "lose" | undefined | Promise<Answer | "hang" | "lose" | undefined> = () => undefined
  /** How many tokens were asked for. */
  tokens = 0
  token: () => Promise<Answer | "break"> = async () => ({ status: 200, body: { token: await sign("alice") } })
  port = 0
  #server: Server | undefined
  readonly #behind: number | undefined

  constructor(behind?: number) {
    this.#behind = behind
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#serve(request, response))
    this.#server = server
    // Port 0 at the first start; later starts listen on the port of the first.
    await new Promise<void>((listening) => server.listen(this.port, "127.0.0.1", listening))
    this.port = (server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((closed) => this.#server?.close(closed))
  }

  /** Requests of the task service, without those that only look. */
  changes(): Seen[] {
    return this.seen.filter(({ method }) => method !== "GET")
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request
    let body = ""
    for await (const part of request) body += String(part)
    if (url === "/api/auth/token") {
      this.tokens++
      const made = await this.token()
      return made === "break" ? void response.destroy() : answer(response, made)
    }
    const seen = { method, url, headers, body, status: 0 }
    this.seen.push(seen)
    const made = await this.intercept(seen)
    if (made === "hang") return
    if (made !== undefined && made !== "lose") {
      seen.status = made.status
      return answer(response, made)
    }
    const { connection, "transfer-encoding": chunked, ...sent } = headers
    void [connection, chunked]
    const onward = forward({ port: this.#behind, method, path: url, headers: sent }, (behind) => {
      seen.status = behind.statusCode ?? 0
      // Carried out, and nobody is told.
      if (made === "lose") return void behind.resume().on("end", () => response.destroy())
      response.writeHead(seen.status, behind.headers)
      behind.pipe(response)
    })
    onward.on("error", () => answer(response, { status: 502, body: "Bad gateway" }))
    onward.end(body)
  }
}

function answer(response: ServerResponse, { status, headers, body }: Answer): void {
  const type = status >= 400 && typeof body === "object" ? "application/problem+json" : "application/json"
  response.writeHead(status, { "Content-Type": typeof body === "string" ? "text/html" : type, ...headers })
  response.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body))
}
