type Message = { userId: string; what: "changed" | "signed-out" }

/** The other tabs of this browser: they hear of a change at once, and not only when they look next time. */
export class Tabs {
  #channel: BroadcastChannel | undefined
  readonly #userId: string

  constructor(userId: string) {
    this.#userId = userId
  }

  /** Listen until the returned function is called. */
  open(heard: (what: Message["what"]) => void): () => void {
    const channel = new BroadcastChannel("taskapi")
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.userId === this.#userId) heard(data.what)
    }
    this.#channel = channel
    return () => {
      channel.close()
      if (this.#channel === channel) this.#channel = undefined
    }
  }

  tell(what: Message["what"]): void {
    const message: Message = { userId: this.#userId, what }
    this.#channel?.postMessage(message)
  }
}
