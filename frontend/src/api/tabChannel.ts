type Message = { userId: string; event: "changed" | "signed-out" }

/**
 * Broadcast channel to the other tabs of this browser with the same user, so that they refresh immediately after a change
 * or a sign-out and not only at their next poll.
 */
export class TabChannel {
  #channel: BroadcastChannel | undefined
  readonly #userId: string

  constructor(userId: string) {
    this.#userId = userId
  }

  /** Open the channel and call `listener` for each event of another tab, until the returned function is called. */
  subscribe(listener: (what: Message["event"]) => void): () => void {
    const channel = new BroadcastChannel("taskapi")
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.userId === this.#userId) listener(data.event)
    }
    this.#channel = channel
    return () => {
      channel.close()
      if (this.#channel === channel) this.#channel = undefined
    }
  }

  /** Send an event to the other tabs; a no-op while the channel is not open. */
  publish(event: Message["event"]): void {
    const message: Message = { userId: this.#userId, event }
    this.#channel?.postMessage(message)
  }
}
