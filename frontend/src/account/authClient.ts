import { createAuthClient } from "better-auth/react"

/** Better Auth as the browser sees it: on the same origin, beneath /api/auth. */
export const authClient = createAuthClient()
