import { expect, test } from "vitest"
import { ApiError, errorFromResponse, SessionEnded, userMessage } from "./errors"

function apiError(
  status: number,
  code = "",
  more: { retryAfter?: number; fields?: Record<string, string> } = {},
) {
  return new ApiError({ status, code, detail: "for programmers", ...more })
}

const ALL = [
  apiError(0, "network"),
  apiError(0, "timeout"),
  ...[400, 401, 403, 404, 405, 410, 412, 413, 415, 428, 429, 500, 502, 503, 504].map((status) =>
    apiError(status),
  ),
  apiError(409, "in-flight"),
  apiError(409, "quota-exceeded"),
  apiError(422, "invalid", { fields: { due_date: "Must be a day that the calendar has." } }),
  apiError(422, "key-reused"),
  ...(["expired", "other-user", "signed-out", "token-rejected"] as const).map(
    (reason) => new SessionEnded(reason),
  ),
  new TypeError("undefined is not a function"),
  "a thrown string",
]

test.each(ALL)("%o has a message for users that says what to do", (error) => {
  expect(userMessage(error)).toMatch(/^[A-Z][^!<>`]+\.$/)
  expect(userMessage(error)).not.toContain("programmers")
})

test("the message contains the seconds of Retry-After", () => {
  expect(userMessage(apiError(429, "", { retryAfter: 12 }))).toContain("12 seconds")
  expect(userMessage(apiError(503, "", { retryAfter: 1 }))).toContain("1 second,")
})

test("the message of a 422 names the field", () => {
  expect(userMessage(apiError(422, "invalid", { fields: { due_date: "Needs a day." } }))).toBe(
    "Due date: Needs a day.",
  )
})

test("Retry-After can be a date", () => {
  const date = new Date(Date.now() + 30_000).toUTCString()
  const { retryAfter } = errorFromResponse(
    new Response(null, { status: 503, headers: { "Retry-After": date } }),
    "",
  )
  expect(retryAfter).toBeGreaterThan(27)
  expect(retryAfter).toBeLessThan(32)
})
