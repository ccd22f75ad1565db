import { authServer, type AuthServer } from "./auth"
import { settings, SettingsError } from "./settings"

/** Start the auth server: check the settings, migrate the database, start the background deliveries and erasures. */
export async function start(): Promise<void> {
  const server = openOrExit()
  const { production, rateLimit, clientIpHeader } = settings()
  if (production && rateLimit && clientIpHeader === undefined)
    console.warn(
      "CLIENT_IP_HEADER is not set: sign-in attempts are counted for all clients together, so one client can use them up.",
    )
  // Start even if the database is unavailable: every request retries, and so does the outbox.
  await server.ready().catch((error: unknown) => {
    console.error(
      `The database of the accounts is not ready: ${error instanceof Error ? error.message : error}`,
    )
  })
  server.outbox.start()
  server.deletions.start()
}

/** Return the auth server; log invalid settings and exit with status 1. */
function openOrExit(): AuthServer {
  try {
    return authServer()
  } catch (error) {
    console.error(error instanceof SettingsError ? error.message : error)
    // Exit, because Next.js would log a thrown error and then respond to every request with 500.
    process.exit(1)
  }
}
