import { connection } from "next/server"
import { authServer } from "@/server/auth"

/** Health check for load balancers: 200 while users can sign in, 503 otherwise. Does not check the API. */
export async function GET(): Promise<Response> {
  await connection()
  const healthy = await authServer()
    .ready()
    .then(() => authServer().isDatabaseReachable())
    .catch(() => false)
  return Response.json(
    { status: healthy ? "ok" : "unavailable" },
    { status: healthy ? 200 : 503, headers: { "cache-control": "no-store" } },
  )
}
