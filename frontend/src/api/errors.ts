import type { components } from "./schema"

type Problem = components["schemas"]["Problem"]
type Task = components["schemas"]["Task"]

type Refusal = {
  status: number
  code: string
  detail: string
  requestId?: string | undefined
  fields?: Record<string, string>
  retryAfter?: number | undefined
}

/** What the task service refused, or, with `status` 0, did not answer at all (`code`: `network` or `timeout`). */
export class ApiError extends Error {
  override name = "ApiError"
  readonly status: number
  readonly code: string
  readonly detail: string
  /** Leads into the log of the service. */
  readonly requestId: string | undefined
  /** What is wrong with which member, as a sentence. */
  readonly fields: Record<string, string>
  /** Seconds after which another try makes sense. */
  readonly retryAfter: number | undefined

  constructor({ status, code, detail, requestId, fields, retryAfter }: Refusal) {
    super(detail)
    this.status = status
    this.code = code
    this.detail = detail
    this.requestId = requestId
    this.fields = fields ?? {}
    this.retryAfter = retryAfter
  }
}

/** The task is no longer as it was when editing began, and this edit changes what changed elsewhere. */
export class ConflictError extends ApiError {
  override name = "ConflictError"

  constructor(
    readonly current: Task,
    requestId?: string,
  ) {
    super({ status: 412, code: "precondition-failed", detail: "The task has changed.", requestId })
  }
}

/** The session has ended, but this page holds what is not saved yet: it waits until the person has signed in again. */
export class SessionExpired extends ApiError {
  override name = "SessionExpired"

  constructor() {
    super({ status: 401, code: "session-expired", detail: "The session has ended." })
  }
}

/**
 * Nothing can be asked in this person's name any more.
 *
 * `expired`: the session has ended. `other-user`: somebody else has signed in, in another tab. `signed-out`: here, by
 * the person. `refused`: the session lives, but the task service does not accept its tokens, which is for those who
 * run the service to mend. Nobody is sent to the sign-in page for it: with a session, it leads back here.
 */
export class SessionOver extends Error {
  override name = "SessionOver"

  constructor(readonly reason: "expired" | "other-user" | "signed-out" | "refused") {
    super(`The session is over: ${reason}.`)
  }
}

/** The error that an answer stands for. A proxy in front may have made it, so nothing of its body is taken for granted. */
export function refusal(response: Response, body: string): ApiError {
  const { status, headers } = response
  const problem = parsed(body)
  const requestId = problem.request_id ?? headers.get("X-Request-Id") ?? undefined
  if (status === 412 && problem.current) return new ConflictError(problem.current, requestId)
  return new ApiError({
    status,
    code: problem.code ?? `http-${status}`,
    detail: problem.detail ?? "",
    requestId,
    fields: fieldsOf(problem),
    retryAfter: seconds(headers.get("Retry-After")),
  })
}

/** The error for a request that got no answer. */
export function unanswered(cause: unknown): ApiError {
  const late = cause instanceof DOMException && cause.name === "TimeoutError"
  return new ApiError({ status: 0, code: late ? "timeout" : "network", detail: "" })
}

function parsed(body: string): Partial<Problem> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === "object" && value !== null ? value : {}
  } catch {
    return {}
  }
}

function fieldsOf({ errors }: Partial<Problem>): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const { pointer, detail } of Array.isArray(errors) ? errors : []) {
    const member = pointer.split("/")[1]
    if (member) fields[member] ??= detail
  }
  return fields
}

/** RFC 9110, section 10.2.3: a number of seconds, or a date. */
function seconds(header: string | null): number | undefined {
  if (!header) return undefined
  if (/^\d+$/.test(header.trim())) return Number(header)
  const until = Date.parse(header)
  return Number.isNaN(until) ? undefined : Math.max(0, Math.ceil((until - Date.now()) / 1000))
}

const SIGN_IN_AGAIN = "You are signed out. Sign in again."
const RELOAD = "This page and the task service do not understand each other. Reload the page and try again."

/** What to tell a person: what happened, and what to do. */
export function sentence(error: unknown): string {
  if (error instanceof SessionOver) {
    return {
      expired: SIGN_IN_AGAIN,
      "signed-out": SIGN_IN_AGAIN,
      "other-user": "Somebody else has signed in. Reload the page.",
      refused: "The task service does not accept your sign-in. Try again later.",
    }[error.reason]
  }
  return error instanceof ApiError
    ? ofApi(error)
    : "Something went wrong on this page. Reload it and try again."
}

function ofApi(error: ApiError): string {
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
      return ofFields(error.fields) || RELOAD
    case 429:
      return `That was too much at once. ${wait(error)}, then go on.`
    case 502:
    case 503:
    case 504:
      return `The task service is not available right now. ${wait(error)}, then try again.`
  }
  if (error.status < 500) return RELOAD
  const quote = error.requestId ? ` If it stays so, report it and quote ${error.requestId}.` : ""
  return `Something failed at the task service. Try again later.${quote}`
}

function ofFields(fields: Record<string, string>): string {
  return Object.entries(fields)
    .map(
      ([member, detail]) =>
        `${member.charAt(0).toUpperCase()}${member.slice(1).replaceAll("_", " ")}: ${detail}`,
    )
    .join(" ")
}

function wait({ retryAfter }: ApiError): string {
  if (!retryAfter) return "Wait a moment"
  return retryAfter === 1 ? "Wait 1 second" : `Wait ${retryAfter} seconds`
}
