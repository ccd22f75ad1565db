import { authServer, type AuthServer } from "./auth"
import { settings, SettingsError } from "./settings"

export async function start(): Promise<void> {
  const server = opened()
  const { production, rateLimit, clientIpHeader } = settings()
  if (production && rateLimit && clientIpHeader === undefined)
    console.warn(
      "CLIENT_IP_HEADER is not set: tries to sign in are counted for everybody together, so anybody can use them up.",
    )
  // A database that is away now may be there in a minute: every request tries again, and so does the outbox.
  await server.ready().catch((error: unknown) => {
    console.error(
      `The database of the accounts is not ready: ${error instanceof Error ? error.message : error}`,
    )
  })
  server.outbox.start()
  server.deletions.start()
}

function opened(): AuthServer {
  try {
    return authServer()
  } catch (error) {
    console.error(error instanceof SettingsError ? error.message : error)
    // Nothing that time would mend. Thrown on, Next would report it and go on to answer every request with 500.
    process.exit(1)
  }
}
