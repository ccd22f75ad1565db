/** Next.js hook that runs once when the server starts, before the first request. */
export async function register(): Promise<void> {
  // Next.js also calls this for the edge runtime, which has no file system and no database driver.
  if (process.env.NEXT_RUNTIME === "nodejs") await (await import("./server/start")).start()
}
