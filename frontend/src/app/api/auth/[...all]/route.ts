import { authServer } from "@/server/auth"

// Not `toNextJsHandler(auth)`: there is no `auth` before the first request, and signing out has to be attended to.
const handle = (request: Request) => authServer().handle(request)

export { handle as GET, handle as POST }
