import { createAuthClient } from "better-auth/react"

/** Better Auth client of the browser; calls `/api/auth` on the same origin. */
export const authClient = createAuthClient()
