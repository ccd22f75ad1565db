import { InfiniteQueryObserver, QueryClient, QueryObserver } from "@tanstack/react-query"
import { createApi, type Api } from "@/api/client"
import { Connection } from "@/api/connection"
import { TokenProvider } from "@/api/tokenProvider"
import { mergePages } from "@/data/listQuery"
import { applyChanges, openCountDelta } from "@/data/optimistic"
import type { Filters, Task, TaskView } from "@/data/task"
import { createTaskData, type TaskData } from "@/data/taskData"
import { Gateway } from "./gateway"
import { signToken } from "./taskService"

export const ALL: Filters = { show: "all", search: "", sort: "-created_at" }

/** The data layer of one open task page, without React, behind a `Gateway`. */
export class OpenPage {
  readonly gateway: Gateway
  readonly client = new QueryClient()
  readonly connection = new Connection()
  readonly api: Api
  readonly data: TaskData
  confirmations = 0
  readonly userId: string
  readonly #closing: (() => void)[] = []

  private constructor(gateway: Gateway, userId: string) {
    this.gateway = gateway
    this.userId = userId
    gateway.token = async () => ({ status: 200, body: { token: await signToken(userId) } })
    const { client, connection } = this
    const token = new TokenProvider(userId, connection, {
      url: `${gateway.url}/api/auth/token`,
      hasUnsavedWork: () => this.changes.unconfirmedCount() > 0,
    })
    this.api = createApi({ url: gateway.url, token, connection, timeout: 2_000 })
    const announce = () => void this.confirmations++
    this.data = createTaskData({ client, api: this.api, userId, connection, onConfirmed: announce })
  }

  static async open(servicePort: number, userId = `user-${crypto.randomUUID()}`): Promise<OpenPage> {
    const gateway = new Gateway(servicePort)
    await gateway.start()
    return new OpenPage(gateway, userId)
  }

  /** Open a page of the same user in another browser. */
  openSecond(servicePort: number): Promise<OpenPage> {
    return OpenPage.open(servicePort, this.userId)
  }

  async close(): Promise<void> {
    for (const close of this.#closing) close()
    this.client.clear()
    await this.gateway.stop()
  }

  get changes() {
    return this.data.changes
  }

  /** Subscribe to a list and to the poller, as the task page does, and wait for their first responses. */
  async show(filters: Filters = ALL): Promise<void> {
    const list = new InfiniteQueryObserver(this.client, this.data.list(filters))
    const pulse = new QueryObserver(this.client, this.data.poller.options)
    this.#closing.push(
      list.subscribe(() => undefined),
      pulse.subscribe(() => undefined),
    )
    await waitFor(() => list.getCurrentResult().isSuccess && pulse.getCurrentResult().isSuccess)
  }

  /** Return the rows that the task page would show for these filters. */
  rows(filters: Filters = ALL): TaskView[] {
    const list = this.client.getQueryData(this.data.list(filters).queryKey)
    return list ? applyChanges(mergePages(list), this.changes.log(), this.changes.ids) : []
  }

  titles(filters: Filters = ALL): string[] {
    return this.rows(filters).map(({ title }) => title)
  }

  /** Return the number of open tasks that the page would show; NaN before the first poll. */
  openCount(): number {
    const result = this.client.getQueryData(this.data.poller.options.queryKey)
    return result ? result.openCount + openCountDelta(result.asOf, this.changes.log()) : Number.NaN
  }

  /** Return the tasks that the API has stored. */
  async stored(): Promise<Task[]> {
    const { data = [] } = await this.api.GET("/api/{user_id}/tasks", {
      params: { path: { user_id: this.userId } },
    })
    return data
  }
}

/** Wait until `condition` returns true; throw after `milliseconds`. */
export async function waitFor(condition: () => boolean, milliseconds = 6_000): Promise<void> {
  for (const deadline = Date.now() + milliseconds; !condition();) {
    if (Date.now() > deadline) throw new Error(`Timeout of ${milliseconds} ms: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
