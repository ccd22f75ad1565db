import { authServer } from "@/server/auth"

// Not `toNextJsHandler(auth)`: `auth` is created at the first request, and `AuthServer.handle` adds the delivery of logout
// tokens and 503 responses.
const handle = (request: Request) => authServer().handle(request)

export { handle as GET, handle as POST }
