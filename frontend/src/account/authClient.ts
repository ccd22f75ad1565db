import { createAuthClient } from "better-auth/react"
import { nextTraceparent } from "@/trace/traceparent"

/** Better Auth client of the browser; calls `/api/auth` on the same origin, each call with a trace of its own. */
export const authClient = createAuthClient({
  fetchOptions: {
    onRequest: ({ headers }) => {
      headers.set("traceparent", nextTraceparent())
    },
  },
})
