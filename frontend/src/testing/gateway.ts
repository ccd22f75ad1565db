import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http"
import type { AddressInfo } from "node:net"
import { signToken } from "./taskService"

export type RecordedRequest = {
  method: string
  url: string
  headers: IncomingMessage["headers"]
  body: string
  status: number
}
type FakeResponse = { status: number; headers?: Record<string, string>; body?: unknown }

/** Proxy between a page and the task service that forwards requests, or injects network faults and fake responses. */
export class Gateway {
  readonly requests: RecordedRequest[] = []
  /**
   * Decide about each request to the API: a fake response, "hang" (no response), "lose" (forward the request and drop the
   * response), or undefined (forward).
   */
  intercept: (
    seen: RecordedRequest,
  ) => FakeResponse | "hang" | "lose" | undefined | Promise<FakeResponse | "hang" | "lose" | undefined> =
    () => undefined
  /** Number of token requests. */
  tokenRequests = 0
  /** Returns the response to a token request; "break" closes the connection. */
  token: () => Promise<FakeResponse | "break"> = async () => ({
    status: 200,
    body: { token: await signToken("alice") },
  })
  port = 0
  #server: Server | undefined
  readonly #servicePort: number | undefined

  constructor(servicePort?: number) {
    this.#servicePort = servicePort
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

  /** Close all connections and refuse new ones; `start` listens on the same port again. */
  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((closed) => this.#server?.close(closed))
  }

  /** Return the recorded requests that are not GET. */
  changes(): RecordedRequest[] {
    return this.requests.filter(({ method }) => method !== "GET")
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request
    let body = ""
    for await (const part of request) body += String(part)
    if (url === "/api/auth/token") {
      this.tokenRequests++
      const fake = await this.token()
      return fake === "break" ? void response.destroy() : sendFake(response, fake)
    }
    const recorded = { method, url, headers, body, status: 0 }
    this.requests.push(recorded)
    const fake = await this.intercept(recorded)
    if (fake === "hang") return
    if (fake !== undefined && fake !== "lose") {
      recorded.status = fake.status
      return sendFake(response, fake)
    }
    const { connection, "transfer-encoding": chunked, ...sentHeaders } = headers
    void [connection, chunked]
    const forwarded = forward(
      { port: this.#servicePort, method, path: url, headers: sentHeaders },
      (incoming) => {
        recorded.status = incoming.statusCode ?? 0
        // The API has executed the request, but the client gets no response.
        if (fake === "lose") return void incoming.resume().on("end", () => response.destroy())
        response.writeHead(recorded.status, incoming.headers)
        incoming.pipe(response)
      },
    )
    forwarded.on("error", () => sendFake(response, { status: 502, body: "Bad gateway" }))
    forwarded.end(body)
  }
}

/** Send a fake response: a string body as HTML, another one as JSON or as a problem document. */
function sendFake(response: ServerResponse, { status, headers, body }: FakeResponse): void {
  const type = status >= 400 && typeof body === "object" ? "application/problem+json" : "application/json"
  response.writeHead(status, { "Content-Type": typeof body === "string" ? "text/html" : type, ...headers })
  response.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body))
}
