"use client"

import { Button } from "@radix-ui/themes/components/button"
import { TextArea } from "@radix-ui/themes/components/text-area"
import { useEffect, useRef, useState } from "react"
import { ApiError, ConflictError, userMessage } from "@/api/errors"
import { useEditTask, useUnsavedDraft, type Task, type TaskUpdate, type TaskView } from "@/data/hooks"
import { browserTimeZone } from "@/data/timeZone"
import { useAnnounce } from "@/feedback/Announcer"
import { useReportProblem } from "@/feedback/Problems"
import { ErrorCallout } from "@/form/ErrorCallout"
import { Field, LabeledTextField } from "@/form/Field"
import { Select } from "@/form/Select"
import { useMounted } from "@/ui/useMounted"
import { ConflictAlert } from "./ConflictAlert"
import { describeTheirChanges, toFormValues, toTaskUpdate, type FormValues } from "./detailsForm"
import { useKeepRowWhileEditing } from "./editedRows"
import { recurrenceChoices } from "./recurrence"
import styles from "./TaskList.module.css"

const PRIORITIES: { value: FormValues["priority"]; label: string }[] = [
  { value: "none", label: "None" },
  { value: "low", label: "Low" },
  { value: "medium", label: "Medium" },
  { value: "high", label: "High" },
]

const FIELDS = ["description", "priority", "tags", "due_date", "due_time", "recurrence"] as const
type Errors = Partial<Record<(typeof FIELDS)[number], string>> & { form?: string }

type TaskDetailsProps = { id: string; task: TaskView; onClose(): void }

/** Form for description, priority, recurrence, due date and tags of a task. */
export function TaskDetails({ id, task, onClose }: TaskDetailsProps) {
  const [original] = useState<Task>(task)
  const [stored] = useState(() => toFormValues(task))
  const [values, setValues] = useState(stored)
  const [errors, setErrors] = useState<Errors>({})
  const [conflict, setConflict] = useState<Task | null>(null)
  const [busy, setBusy] = useState(false)
  const isSending = useRef(false)
  const form = useRef<HTMLFormElement>(null)
  const editTask = useEditTask()
  const announce = useAnnounce()
  const report = useReportProblem()
  const mounted = useMounted()
  const changes = toTaskUpdate(original, values, browserTimeZone() ?? null)
  const changed = Object.keys(changes).length > 0
  useKeepRowWhileEditing(task.key, changed)
  useUnsavedDraft(changed)

  // The disabled fieldset took the focus from the pressed button: move it to the first error or to the conflict.
  useEffect(() => {
    form.current
      ?.querySelector<HTMLElement>('[aria-invalid="true"], [role="alert"] button, [data-retry]')
      ?.focus()
  }, [errors, conflict])

  const setField = <K extends keyof FormValues>(key: K, value: FormValues[K]) =>
    setValues((before) => ({ ...before, [key]: value }))

  /** Send an edit; close the form after success, otherwise show the errors or the conflict. */
  async function send(base: Task, update: TaskUpdate, overwrite: boolean) {
    if (isSending.current) return
    isSending.current = true
    setBusy(true)
    setErrors({})
    setConflict(null)
    try {
      await editTask(base, update, { overwrite })
      announce("Task saved.")
      if (mounted.current) onClose()
    } catch (error) {
      const theirs = error instanceof ConflictError ? error.current : null
      if (!mounted.current) {
        // The form is unmounted: report the error in the list of problems, with a retry button.
        const what = `The changes to “${original.title}” were not saved.`
        if (theirs) report(what, error, () => void send(theirs, update, true), "Keep mine")
        else report(what, error, () => void send(base, update, overwrite))
        return
      }
      setConflict(theirs)
      if (!theirs) setErrors(toFieldErrors(error))
      setBusy(false)
    } finally {
      isSending.current = false
    }
  }

  /** Send the changed fields. `base`: the task that the edit began with; the current task when overwriting a conflict. */
  function save(base: Task, overwrite: boolean) {
    if (!changed) return onClose()
    const dateErrors = values.date ? {} : missingDateErrors(changes)
    if (Object.keys(dateErrors).length > 0) return setErrors(dateErrors)
    void send(base, changes, overwrite)
  }

  /** Close the form without saving, unless a request is in progress. */
  function cancel() {
    // A request that was sent cannot be canceled.
    if (!isSending.current) onClose()
  }

  return (
    <form
      ref={form}
      id={id}
      className={styles.details}
      method="post"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        save(original, false)
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") cancel()
      }}
    >
      {/* Disabled while sending, because later input would be lost when the form closes. */}
      <fieldset className={styles.fields} disabled={busy}>
        <Field label="Description" error={errors.description}>
          {(field) => (
            <TextArea
              {...field}
              autoFocus
              size="3"
              rows={3}
              resize="vertical"
              value={values.description}
              onChange={(event) => setField("description", event.target.value)}
            />
          )}
        </Field>
        <div className={styles.columns}>
          <Field label="Priority" error={errors.priority}>
            {(field) => (
              <Select
                {...field}
                value={values.priority}
                onChange={(event) => {
                  const chosen = PRIORITIES.find(({ value }) => value === event.target.value)
                  if (chosen) setField("priority", chosen.value)
                }}
              >
                {PRIORITIES.map(({ value, label }) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Select>
            )}
          </Field>
          <Field label="Repeat" error={errors.recurrence}>
            {(field) => (
              <Select
                {...field}
                value={values.repeat}
                onChange={(event) => setField("repeat", event.target.value)}
              >
                {recurrenceChoices(values.date, stored.repeat, values.repeat).map(({ value, label }) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Select>
            )}
          </Field>
          <LabeledTextField
            label="Due date"
            type="date"
            error={errors.due_date}
            value={values.date}
            onChange={(event) => setField("date", event.target.value)}
          />
          <LabeledTextField
            label="Due time"
            type="time"
            error={errors.due_time}
            value={values.time}
            onChange={(event) => setField("time", event.target.value)}
          />
        </div>
        <LabeledTextField
          label="Tags"
          autoComplete="off"
          autoCapitalize="none"
          hint="Separated by commas."
          error={errors.tags}
          value={values.tags}
          onChange={(event) => setField("tags", event.target.value)}
        />
        {errors.form && (
          <>
            <ErrorCallout>{errors.form}</ErrorCallout>
            <div>
              <Button type="submit" variant="soft" size="2" data-retry>
                Try again
              </Button>
            </div>
          </>
        )}
        {conflict && (
          <ConflictAlert
            theirVersion={describeTheirChanges(original, conflict, changes)}
            onKeepMine={() => save(conflict, true)}
            onTakeTheirs={onClose}
          />
        )}
        <div className={styles.detailActions}>
          <Button type="submit" size="2" loading={busy}>
            Save
          </Button>
          <Button type="button" size="2" variant="soft" color="gray" onClick={cancel}>
            Cancel
          </Button>
        </div>
      </fieldset>
    </form>
  )
}

/** Return errors for a due time or recurrence without a due date. The API rejects these too, with other messages. */
function missingDateErrors({ due_time, recurrence }: TaskUpdate): Errors {
  const reason = "Choose a due date as well."
  return { ...(due_time ? { due_time: reason } : {}), ...(recurrence ? { recurrence: reason } : {}) }
}

/** Convert a rejected request to errors by field; an error that belongs to no field becomes `form`. */
function toFieldErrors(error: unknown): Errors {
  const errors: Errors = {}
  if (error instanceof ApiError) {
    for (const member of FIELDS) {
      const reason = error.fields[member]
      if (reason) errors[member] = reason
    }
    // The form has no field for the time zone, which is sent with the time.
    const zone = error.fields.time_zone
    if (zone) errors.due_time ??= zone
  }
  return Object.keys(errors).length > 0 ? errors : { form: userMessage(error) }
}
