"use client"

import { useRef, useState, type SubmitEvent } from "react"
import { flushSync } from "react-dom"

/** Reason why a form was rejected; without `field` it concerns the form as a whole. */
export type FormError = { field?: string | undefined; message: string }

/** State and submit handler of a form. */
export type Submission = {
  busy: boolean
  formError: FormError | null
  /** Return the error message for one field. */
  error(field: string): string | undefined
  /** Error message for the form as a whole. */
  alert: string | undefined
  onSubmit(event: SubmitEvent<HTMLFormElement>): void
}

/**
 * Handle the submission of a form: one at a time, and the fields keep their values after an error (React's form actions
 * would reset them). `send` returns the error, null for success, or "redirecting" to keep the form busy because another
 * page is being loaded.
 */
export function useSubmission(
  send: (value: (name: string) => string, form: HTMLFormElement) => Promise<FormError | "redirecting" | null>,
): Submission {
  const [busy, setBusy] = useState(false)
  const [formError, setFormError] = useState<FormError | null>(null)
  const isSending = useRef(false)

  /** Send the form, then show the error at its field, move the focus there and enable the form again. */
  async function submit(form: HTMLFormElement, submitter: HTMLElement | null) {
    const data = new FormData(form)
    const value = (name: string) => {
      const entry = data.get(name)
      return typeof entry === "string" ? entry : ""
    }
    const result = await send(value, form)
    if (result === "redirecting") return
    const field = result?.field && form.elements.namedItem(result.field)
    isSending.current = false
    flushSync(() => {
      // An error of a field that this form does not have is shown above the form.
      setFormError(result && (field ? result : { message: result.message }))
      setBusy(false)
    })
    if (field instanceof HTMLElement) field.focus()
    // The submit button lost the focus because it was disabled during the request.
    else if (document.activeElement === document.body) submitter?.focus()
  }

  return {
    busy,
    formError,
    error: (field) => (formError?.field === field ? formError.message : undefined),
    alert: formError && !formError.field ? formError.message : undefined,
    onSubmit(event) {
      event.preventDefault()
      if (isSending.current) return
      isSending.current = true
      setBusy(true)
      setFormError(null)
      void submit(event.currentTarget, event.nativeEvent.submitter)
    },
  }
}
