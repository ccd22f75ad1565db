import { NextResponse, type NextRequest } from "next/server"
import { settings } from "@/server/settings"

/**
 * Add a Content-Security-Policy with a new nonce to every page, and HSTS on https. Next.js reads the nonce from the request
 * headers and adds it to its own scripts.
 */
export function proxy(request: NextRequest): NextResponse {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64")
  const policy = contentSecurityPolicy(nonce)
  const headers = new Headers(request.headers)
  headers.set("x-nonce", nonce)
  headers.set("content-security-policy", policy)
  const response = NextResponse.next({ request: { headers } })
  response.headers.set("content-security-policy", policy)
  // Not in next.config.ts, whose headers are fixed at build time: one build serves http and https.
  if (settings().url.startsWith("https:"))
    response.headers.set("strict-transport-security", "max-age=31536000; includeSubDomains")
  return response
}

/** Return the Content-Security-Policy of a page: scripts with the nonce only, requests to this origin and the API only. */
function contentSecurityPolicy(nonce: string): string {
  const { apiUrl, url, production } = settings()
  return [
    "default-src 'self'",
    // React in development mode reconstructs stack traces with eval.
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${production ? "" : " 'unsafe-eval'"}`,
    // Radix and sonner set style attributes and insert <style> elements without a nonce.
    "style-src 'self' 'unsafe-inline'",
    // With a path, the slash at its end makes the rule match all URLs below it.
    `connect-src 'self' ${apiUrl}${apiUrl === new URL(apiUrl).origin ? "" : "/"}`,
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "object-src 'none'",
    ...(url.startsWith("https:") ? ["upgrade-insecure-requests"] : []),
  ].join("; ")
}

export const config = {
  // Pages only, not static assets and not JSON endpoints.
  matcher: ["/((?!api/|healthz|_next/static|_next/image|favicon.ico|icon.svg).*)"],
}
