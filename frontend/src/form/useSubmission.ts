"use client"

import { useRef, useState, type SubmitEvent } from "react"
import { flushSync } from "react-dom"

/** Why a form was not accepted: beside the named field, or for the form as a whole. */
export type FormError = { field?: string | undefined; message: string }

export type Submission = {
  busy: boolean
  formError: FormError | null
  /** The sentence for one field. */
  error(field: string): string | undefined
  /** The sentence for the form as a whole. */
  alert: string | undefined
  onSubmit(event: SubmitEvent<HTMLFormElement>): void
}

/**
 * Sends a form once at a time and keeps what was typed when it is refused; React's form actions would empty the fields.
 * After success the form stays busy when `send` answers "leaving", since another page is on its way.
 */
export function useSubmission(
  send: (value: (name: string) => string, form: HTMLFormElement) => Promise<FormError | "leaving" | null>,
): Submission {
  const [busy, setBusy] = useState(false)
  const [formError, setFormError] = useState<FormError | null>(null)
  const isSending = useRef(false)

  async function submit(form: HTMLFormElement, submitter: HTMLElement | null) {
    const data = new FormData(form)
    const value = (name: string) => {
      const entry = data.get(name)
      return typeof entry === "string" ? entry : ""
    }
    const result = await send(value, form)
    if (result === "leaving") return
    const field = result?.field && form.elements.namedItem(result.field)
    isSending.current = false
    flushSync(() => {
      setFormError(result && (field ? result : { message: result.message })) // no such field here: said above the form
      setBusy(false)
    })
    if (field instanceof HTMLElement) field.focus()
    // The button could not keep the focus while it was waiting.
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
