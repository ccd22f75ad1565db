"use client"

import { useRef, useState, type SubmitEvent } from "react"
import { flushSync } from "react-dom"

/** Why a form was not accepted: beside the named field, or for the form as a whole. */
export type Refusal = { field?: string | undefined; message: string }

export type Submission = {
  busy: boolean
  refusal: Refusal | null
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
  send: (value: (name: string) => string, form: HTMLFormElement) => Promise<Refusal | "leaving" | null>,
): Submission {
  const [busy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<Refusal | null>(null)
  const sending = useRef(false)

  async function submit(form: HTMLFormElement, submitter: HTMLElement | null) {
    const data = new FormData(form)
    const value = (name: string) => {
      const entry = data.get(name)
      return typeof entry === "string" ? entry : ""
    }
    const answer = await send(value, form)
    if (answer === "leaving") return
    const field = answer?.field && form.elements.namedItem(answer.field)
    sending.current = false
    flushSync(() => {
      setRefusal(answer && (field ? answer : { message: answer.message })) // no such field here: said above the form
      setBusy(false)
    })
    if (field instanceof HTMLElement) field.focus()
    // The button could not keep the focus while it was waiting.
    else if (document.activeElement === document.body) submitter?.focus()
  }

  return {
    busy,
    refusal,
    error: (field) => (refusal?.field === field ? refusal.message : undefined),
    alert: refusal && !refusal.field ? refusal.message : undefined,
    onSubmit(event) {
      event.preventDefault()
      if (sending.current) return
      sending.current = true
      setBusy(true)
      setRefusal(null)
      void submit(event.currentTarget, event.nativeEvent.submitter)
    },
  }
}
