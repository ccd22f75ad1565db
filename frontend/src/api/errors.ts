import type { components } from "./schema"

type Problem = components["schemas"]["Problem"]
type Task = components["schemas"]["Task"]

type ApiErrorOptions = {
  status: number
  code: string
  detail: string
  requestId?: string | undefined
  fields?: Record<string, string>
  retryAfter?: number | undefined
}

/**
 * Error response of the task API (RFC 9457 problem document). `status` 0: there was no response, and `code` is `network`
 * or `timeout`.
 */
export class ApiError extends Error {
  override name = "ApiError"
  readonly status: number
  readonly code: string
  readonly detail: string
  /** `X-Request-Id` of the response; the API writes the same id to its log. */
  readonly requestId: string | undefined
  /** Error message for each JSON member of the request body, by member name. */
  readonly fields: Record<string, string>
  /** Seconds to wait before a retry, from the header `Retry-After`. */
  readonly retryAfter: number | undefined

  constructor({ status, code, detail, requestId, fields, retryAfter }: ApiErrorOptions) {
    super(detail)
    this.status = status
    this.code = code
    this.detail = detail
    this.requestId = requestId
    this.fields = fields ?? {}
    this.retryAfter = retryAfter
  }
}

/** Edit conflict: the edit sets members that another client changed since the edit began. `current`: the stored task. */
export class ConflictError extends ApiError {
  override name = "ConflictError"

  constructor(
    readonly current: Task,
    requestId?: string,
  ) {
    super({ status: 412, code: "precondition-failed", detail: "The task has changed.", requestId })
  }
}

/**
 * The session has ended while the page has unsaved changes. Retryable: requests are repeated until the user has signed in
 * again, in another tab.
 */
export class SignInRequired extends ApiError {
  override name = "SessionExpired"

  constructor() {
    super({ status: 401, code: "session-expired", detail: "The session has ended." })
  }
}

/**
 * No access token will be issued for this user on this page any more. Not retryable.
 *
 * `expired`: the session has ended. `other-user`: another user has signed in, in another tab. `signed-out`: the user has
 * signed out on this page. `token-rejected`: the session is valid, but the task API rejects its tokens (wrong secret,
 * issuer or audience), which an operator must fix. This reason does not redirect to the sign-in page, because that page
 * redirects a user who has a session back to the tasks: a redirect loop.
 */
export class SessionEnded extends Error {
  override name = "SessionOver"

  constructor(readonly reason: "expired" | "other-user" | "signed-out" | "token-rejected") {
    super(`The session has ended: ${reason}.`)
  }
}

/**
 * Convert an error response to an `ApiError`, or to a `ConflictError` for a 412 that contains the current task. The body
 * need not be a problem document: a proxy in front of the API may have sent an HTML page.
 */
export function errorFromResponse(response: Response, body: string): ApiError {
  const { status, headers } = response
  const problem = parseProblem(body)
  const requestId = problem.request_id ?? headers.get("X-Request-Id") ?? undefined
  if (status === 412 && problem.current) return new ConflictError(problem.current, requestId)
  return new ApiError({
    status,
    code: problem.code ?? `http-${status}`,
    detail: problem.detail ?? "",
    requestId,
    fields: fieldErrors(problem),
    retryAfter: parseRetryAfter(headers.get("Retry-After")),
  })
}

/** Convert an exception of `fetch` to an `ApiError` with `status` 0. */
export function networkError(cause: unknown): ApiError {
  const timedOut = cause instanceof DOMException && cause.name === "TimeoutError"
  return new ApiError({ status: 0, code: timedOut ? "timeout" : "network", detail: "" })
}

/** Parse a response body; return an empty object if it is not a JSON object. */
function parseProblem(body: string): Partial<Problem> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === "object" && value !== null ? value : {}
  } catch {
    return {}
  }
}

/** Map each JSON pointer (`/tags/3`) to the name of its top-level member; keep the first error of each member. */
function fieldErrors({ errors }: Partial<Problem>): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const { pointer, detail } of Array.isArray(errors) ? errors : []) {
    const member = pointer.split("/")[1]
    if (member) fields[member] ??= detail
  }
  return fields
}

/** Return the seconds that a `Retry-After` header asks for: a number or a date (RFC 9110, section 10.2.3). */
function parseRetryAfter(header: string | null): number | undefined {
  if (!header) return undefined
  if (/^\d+$/.test(header.trim())) return Number(header)
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000))
}

const SIGN_IN_AGAIN = "You are signed out. Sign in again."
const RELOAD = "This page and the task service do not understand each other. Reload the page and try again."

/** Return the message to show to the user for an error: what happened and what to do about it. */
export function userMessage(error: unknown): string {
  if (error instanceof SessionEnded) {
    return {
      expired: SIGN_IN_AGAIN,
      "signed-out": SIGN_IN_AGAIN,
      "other-user": "Somebody else has signed in. Reload the page.",
      "token-rejected": "The task service does not accept your sign-in. Try again later.",
    }[error.reason]
  }
  return error instanceof ApiError
    ? apiErrorMessage(error)
    : "Something went wrong on this page. Reload it and try again."
}

/** Return the message for a status of the API. */
function apiErrorMessage(error: ApiError): string {
  switch (error.status) {
    case 0:
      return error.code === "timeout"
        ? "The task service takes too long to answer. Wait a moment, then try again."
        : "The task service cannot be reached. Check your connection, then try again."
    case 401:
      return SIGN_IN_AGAIN
    case 403:
      return "These tasks belong to another account. Reload the page."
    case 404:
      return "This task is not there any more. It may have been deleted elsewhere."
    case 409:
      return error.code === "quota-exceeded"
        ? "You have as many tasks as are allowed. Delete some, then try again."
        : "This change is still being made. Wait a moment, then try again."
    case 410:
      return "Too much has changed in the meantime. Reload the page."
    case 412:
      return "This task was changed elsewhere. Look at it again before you save it."
    case 413:
      return "This is too long to be saved. Shorten it, then try again."
    case 422:
      return fieldErrorsMessage(error.fields) || RELOAD
    case 429:
      return `That was too much at once. ${waitInstruction(error)}, then go on.`
    case 502:
    case 503:
    case 504:
      return `The task service is not available right now. ${waitInstruction(error)}, then try again.`
  }
  if (error.status < 500) return RELOAD
  const quote = error.requestId ? ` If it stays so, report it and quote ${error.requestId}.` : ""
  return `Something failed at the task service. Try again later.${quote}`
}

/** Join field errors to one text: "Due date: Needs a day." */
function fieldErrorsMessage(fields: Record<string, string>): string {
  return Object.entries(fields)
    .map(
      ([member, detail]) =>
        `${member.charAt(0).toUpperCase()}${member.slice(1).replaceAll("_", " ")}: ${detail}`,
    )
    .join(" ")
}

/** Return "Wait 5 seconds", or "Wait a moment" if the response had no `Retry-After`. */
function waitInstruction({ retryAfter }: ApiError): string {
  if (!retryAfter) return "Wait a moment"
  return retryAfter === 1 ? "Wait 1 second" : `Wait ${retryAfter} seconds`
}
