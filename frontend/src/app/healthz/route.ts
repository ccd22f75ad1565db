import { connection } from "next/server"
import { authServer } from "@/server/auth"

/** 200 while people can sign in. For load balancers; says nothing about the API, which has its own. */
export async function GET(): Promise<Response> {
  await connection()
  const healthy = await authServer()
    .ready()
    .then(() => authServer().reachable())
    .catch(() => false)
  return Response.json(
    { status: healthy ? "ok" : "unavailable" },
    { status: healthy ? 200 : 503, headers: { "cache-control": "no-store" } },
  )
}
