import type { FormError } from "@/form/useSubmission"
import { loadPage } from "./loadPage"

type AuthError = { code?: string | undefined; status: number }

const UNREACHABLE = "The service cannot be reached. Check your connection and try again."

/** Messages for users by error code of Better Auth, whose own messages are for developers. */
const ERRORS_BY_CODE: Record<string, FormError> = {
  INVALID_EMAIL_OR_PASSWORD: { message: "The email or the password is not right." },
  USER_ALREADY_EXISTS: { field: "email", message: "There is an account with this email already." },
  USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL: {
    field: "email",
    message: "There is an account with this email already.",
  },
  // Input validation of Better Auth; of the fields that our forms send, only the email can fail it.
  VALIDATION_ERROR: { field: "email", message: "This is not an email address." },
  INVALID_EMAIL: { field: "email", message: "This is not an email address." },
  PASSWORD_TOO_SHORT: {
    field: "password",
    message: "This password is too short. Use at least 8 characters.",
  },
  PASSWORD_TOO_LONG: { field: "password", message: "This password is too long. Use at most 128 characters." },
  INVALID_PASSWORD: { field: "current", message: "This is not your password." },
  TASKS_NOT_ERASED: {
    message: "Your tasks could not be erased, so your account is still there. Try again in a moment.",
  },
  SIGNED_OUT_TASKS_NOT_ERASED: {
    message:
      "Your tasks could not be erased, so your account is still there. You are signed out: sign in to try again.",
  },
  INVALID_TOKEN: { message: "This link has expired or was used before. Ask for a new one." },
  EMAIL_PASSWORD_SIGN_UP_DISABLED: { message: "New accounts cannot be made here at the moment." },
  RESET_PASSWORD_DISABLED: { message: "Passwords cannot be reset here." },
  INVALID_ORIGIN: { message: "This page was opened at an address the service does not know." },
}

/** Return the message for an error response of Better Auth, with the form field it belongs to. */
export function toFormError({ code, status }: AuthError): FormError {
  if (status === 429) return { message: "Too many attempts. Wait a moment, then try again." }
  const known = code && ERRORS_BY_CODE[code]
  if (known) return known
  if (status >= 500) return { message: "The service has a problem. Try again in a moment." }
  return { message: "This did not work. Check what you entered and try again." }
}

type AuthResult<T> = { data: T | null; error: AuthError | null }

/**
 * Call Better Auth and return its data or an error for the user; never rejects. A 401 other than for a wrong password means
 * that the session has ended: it loads the sign-in page and returns the error "redirecting".
 */
export async function callAuth<T>(
  call: () => Promise<AuthResult<T>>,
): Promise<{ data: T; error: null } | { data: null; error: FormError | "redirecting" }> {
  let result: AuthResult<T>
  try {
    result = await call()
  } catch {
    return { data: null, error: { message: UNREACHABLE } }
  }
  if (result.error) {
    const { code, status } = result.error
    const sessionEnded = status === 401 && code !== "INVALID_EMAIL_OR_PASSWORD"
    if (!sessionEnded) return { data: null, error: toFormError({ code, status }) }
    loadPage("/sign-in?expired=1")
    return { data: null, error: "redirecting" }
  }
  return { data: result.data as T, error: null }
}
