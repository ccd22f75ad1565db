import { NextResponse, type NextRequest } from "next/server"
import { settings } from "@/server/settings"

/** A policy with a new nonce for every page. Next reads the nonce from the request and puts it on its own scripts. */
export function proxy(request: NextRequest): NextResponse {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64")
  const policy = contentSecurityPolicy(nonce)
  const headers = new Headers(request.headers)
  headers.set("x-nonce", nonce)
  headers.set("content-security-policy", policy)
  const response = NextResponse.next({ request: { headers } })
  response.headers.set("content-security-policy", policy)
  // Here and not in next.config.ts, whose headers are fixed by the build: one build serves http and https.
  if (settings().url.startsWith("https:"))
    response.headers.set("strict-transport-security", "max-age=31536000; includeSubDomains")
  return response
}

function contentSecurityPolicy(nonce: string): string {
  const { apiUrl, url, production } = settings()
  return [
    "default-src 'self'",
    // React in development rebuilds stack traces with eval.
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${production ? "" : " 'unsafe-eval'"}`,
    // Radix and sonner set style attributes and insert style elements, for which there is no nonce.
    "style-src 'self' 'unsafe-inline'",
    `connect-src 'self' ${apiUrl}`,
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "object-src 'none'",
    ...(url.startsWith("https:") ? ["upgrade-insecure-requests"] : []),
  ].join("; ")
}

export const config = {
  // Pages. Not what they load, and not what answers JSON.
  matcher: ["/((?!api/|healthz|_next/static|_next/image|favicon.ico|icon.svg).*)"],
}
