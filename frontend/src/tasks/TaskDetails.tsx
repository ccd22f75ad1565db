"use client"

import { Button } from "@radix-ui/themes/components/button"
import { TextArea } from "@radix-ui/themes/components/text-area"
import { useEffect, useRef, useState } from "react"
import { ApiError, ConflictError, sentence } from "@/api/errors"
import { Choice } from "@/form/Select"
import { Field, LabelledText } from "@/form/Field"
import { Refused } from "@/form/ErrorCallout"
import { useAnnounce } from "@/feedback/Announcer"
import { ConflictAlert } from "./ConflictAlert"
import { changesOf, detailsOf, theirWords, type Details } from "./detailsForm"
import { useHeldRow } from "./editedRows"
import { useMounted } from "@/ui/useMounted"
import { useReportProblem } from "@/feedback/Problems"
import { useDraft, useEditTask, type Task, type TaskUpdate, type TaskView } from "@/data/hooks"
import { repeatChoices } from "./recurrence"
import styles from "./TaskList.module.css"

const priorities: { value: Details["priority"]; label: string }[] = [
  { value: "none", label: "None" },
  { value: "low", label: "Low" },
  { value: "medium", label: "Medium" },
  { value: "high", label: "High" },
]

const members = ["description", "priority", "tags", "due_date", "due_time", "recurrence"] as const
type Errors = Partial<Record<(typeof members)[number], string>> & { form?: string }

type TaskDetailsProps = { id: string; task: TaskView; onClose(): void }

export function TaskDetails({ id, task, onClose }: TaskDetailsProps) {
  const [seen] = useState<Task>(task)
  const [details, setDetails] = useState(() => detailsOf(task))
  const [errors, setErrors] = useState<Errors>({})
  const [conflict, setConflict] = useState<Task | null>(null)
  const [busy, setBusy] = useState(false)
  const sending = useRef(false)
  const form = useRef<HTMLFormElement>(null)
  const editTask = useEditTask()
  const announce = useAnnounce()
  const report = useReportProblem()
  const mounted = useMounted()
  const changes = changesOf(seen, details, Intl.DateTimeFormat().resolvedOptions().timeZone)
  const changed = Object.keys(changes).length > 0
  useHeldRow(task.key, changed)
  useDraft(changed)

  // The button that was pressed is out of reach while it waits, and the focus with it: it goes to what is to be done.
  useEffect(() => {
    form.current
      ?.querySelector<HTMLElement>('[aria-invalid="true"], [role="alert"] button, [data-retry]')
      ?.focus()
  }, [errors, conflict])

  const set = <K extends keyof Details>(key: K, value: Details[K]) =>
    setDetails((before) => ({ ...before, [key]: value }))

  async function send(base: Task, update: TaskUpdate, overwrite: boolean) {
    if (sending.current) return
    sending.current = true
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
        // The fields are gone, and what was typed waits beside them.
        const what = `The changes to “${seen.title}” were not saved.`
        if (theirs) report(what, error, () => void send(theirs, update, true), "Keep mine")
        else report(what, error, () => void send(base, update, overwrite))
        return
      }
      setConflict(theirs)
      if (!theirs) setErrors(errorsOf(error))
      setBusy(false)
    } finally {
      sending.current = false
    }
  }

  /** `base`: what the fields are meant to change; the task as it is now for whoever insists on the own words. */
  function save(base: Task, overwrite: boolean) {
    if (!changed) return onClose()
    const undated = details.date ? {} : undatedErrors(changes)
    if (Object.keys(undated).length > 0) return setErrors(undated)
    void send(base, changes, overwrite)
  }

  function cancel() {
    // What is on its way cannot be called back.
    if (!sending.current) onClose()
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
        save(seen, false)
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") cancel()
      }}
    >
      {/* What is typed while it is being sent would be lost when the form closes. */}
      <fieldset className={styles.fields} disabled={busy}>
        <Field label="Description" error={errors.description}>
          {(field) => (
            <TextArea
              {...field}
              autoFocus
              size="3"
              rows={3}
              resize="vertical"
              value={details.description}
              onChange={(event) => set("description", event.target.value)}
            />
          )}
        </Field>
        <div className={styles.pair}>
          <Field label="Priority" error={errors.priority}>
            {(field) => (
              <Choice
                {...field}
                value={details.priority}
                onChange={(event) => {
                  const chosen = priorities.find(({ value }) => value === event.target.value)
                  if (chosen) set("priority", chosen.value)
                }}
              >
                {priorities.map(({ value, label }) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Choice>
            )}
          </Field>
          <Field label="Repeat" error={errors.recurrence}>
            {(field) => (
              <Choice
                {...field}
                value={details.repeat}
                onChange={(event) => set("repeat", event.target.value)}
              >
                {repeatChoices(seen.recurrence ?? "").map(({ value, label }) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Choice>
            )}
          </Field>
          <LabelledText
            label="Due date"
            type="date"
            error={errors.due_date}
            value={details.date}
            onChange={(event) => set("date", event.target.value)}
          />
          <LabelledText
            label="Due time"
            type="time"
            error={errors.due_time}
            value={details.time}
            onChange={(event) => set("time", event.target.value)}
          />
        </div>
        <LabelledText
          label="Tags"
          autoComplete="off"
          autoCapitalize="none"
          hint="Separated by commas."
          error={errors.tags}
          value={details.tags}
          onChange={(event) => set("tags", event.target.value)}
        />
        {errors.form && (
          <>
            <Refused>{errors.form}</Refused>
            <div>
              <Button type="submit" variant="soft" size="2" data-retry>
                Try again
              </Button>
            </div>
          </>
        )}
        {conflict && (
          <ConflictAlert
            now={theirWords(seen, conflict, changes)}
            onKeep={() => save(conflict, true)}
            onTake={onClose}
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

/** The API refuses these as well, but in its own words. */
function undatedErrors({ due_time, recurrence }: TaskUpdate): Errors {
  const reason = "Choose a due date as well."
  return { ...(due_time ? { due_time: reason } : {}), ...(recurrence ? { recurrence: reason } : {}) }
}

function errorsOf(error: unknown): Errors {
  const errors: Errors = {}
  if (error instanceof ApiError) {
    for (const member of members) {
      const reason = error.fields[member]
      if (reason) errors[member] = reason
    }
    // The form has no field for the zone, which comes with the time.
    const zone = error.fields.time_zone
    if (zone) errors.due_time ??= zone
  }
  return Object.keys(errors).length > 0 ? errors : { form: sentence(error) }
}
