import { describe, expect, it, vi } from "vitest"
import { callAuth, toFormError } from "./callAuth"

describe("refusal", () => {
  it("names the field where there is one", () => {
    expect(toFormError({ code: "PASSWORD_TOO_SHORT", status: 400 }).field).toBe("password")
    expect(toFormError({ code: "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", status: 422 }).field).toBe("email")
  })

  it("reports 429 before any error code", () => {
    expect(toFormError({ code: "INVALID_EMAIL_OR_PASSWORD", status: 429 }).message).toMatch(
      /^Too many attempts/,
    )
  })

  it.each([
    [{ status: 400, code: "SOMETHING_NEW" }, /^This did not work/],
    [{ status: 503, code: "UNAVAILABLE" }, /^The service has a problem/],
    [{ status: 500 }, /^The service has a problem/],
  ])("never shows a code: %o", (failure, sentence) => {
    const { message } = toFormError(failure)
    expect(message).toMatch(sentence)
    expect(message).not.toMatch(/[A-Z]{2}|_/)
  })
})

describe("ask", () => {
  it("returns the data", async () => {
    expect(await callAuth(async () => ({ data: 7, error: null }))).toEqual({ data: 7, error: null })
  })

  it("returns a message for a network error", async () => {
    const { error } = await callAuth(() => Promise.reject(new TypeError("Failed to fetch")))
    expect(error).toEqual({ message: expect.stringMatching(/cannot be reached/) })
  })

  it("loads the sign-in page after a 401, but not for a wrong password", async () => {
    const assign = vi.fn()
    vi.stubGlobal("window", { location: { assign } })
    const wrong = await callAuth(async () => ({
      data: null,
      error: { status: 401, code: "INVALID_EMAIL_OR_PASSWORD" },
    }))
    expect(wrong.error).toEqual({ message: "The email or the password is not right." })
    expect(assign).not.toHaveBeenCalled()
    const ended = await callAuth(async () => ({ data: null, error: { status: 401, code: "UNAUTHORIZED" } }))
    expect(ended.error).toBe("redirecting")
    expect(assign).toHaveBeenCalledWith("/sign-in?expired=1")
    vi.unstubAllGlobals()
  })
})
