/** Version 00 of W3C Trace Context; a later version would have to be read by its own rules. */
const VALID = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** Return random bytes in hexadecimal. */
function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("")
}

/**
 * Return a `traceparent` header (W3C Trace Context, section 3.2) of the same trace as `parent`, with a new span id; of a new
 * trace if `parent` is absent or invalid. The flag says that the trace is recorded, so that a sampler that obeys the
 * caller records it.
 */
export function nextTraceparent(parent?: string | null): string {
  const traceId = VALID.exec(parent ?? "")?.[1] ?? randomHex(16)
  return `00-${traceId}-${randomHex(8)}-01`
}
