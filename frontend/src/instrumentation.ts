/** Runs once when the server starts, before the first request. */
export async function register(): Promise<void> {
  // Also called for the edge runtime, which has neither files nor a database.
  if (process.env.NEXT_RUNTIME === "nodejs") await (await import("./server/start")).start()
}
