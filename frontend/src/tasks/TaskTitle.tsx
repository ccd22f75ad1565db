"use client"

import * as TextField from "@radix-ui/themes/components/text-field"
import { useId, useRef, useState } from "react"
import { flushSync } from "react-dom"
import { ApiError, ConflictError, userMessage } from "@/api/errors"
import { isBlank } from "@/data/blank"
import { useEditTask, useUnsavedDraft, type Task, type TaskView } from "@/data/hooks"
import { useAnnounce } from "@/feedback/Announcer"
import { useReportProblem } from "@/feedback/Problems"
import { FieldError } from "@/form/Field"
import { useMounted } from "@/ui/useMounted"
import { ConflictAlert } from "./ConflictAlert"
import { useKeepRowWhileEditing } from "./editedRows"
import styles from "./TaskList.module.css"

/** An open edit. `base`: the task when the edit began. `theirs`: the current task after an edit conflict. */
type Draft = { base: Task; text: string; error?: string | undefined; theirs?: Task | undefined }

/** The title of a task: a button that turns into a text field. Saves on Enter and on blur, cancels on Escape. */
export function TaskTitle({ task }: { task: TaskView }) {
  const [draft, setDraft] = useState<Draft | null>(null)
  // The same value for `send`, whose closure holds the draft of an earlier render when the response arrives.
  const latest = useRef<Draft | null>(null)
  const button = useRef<HTMLButtonElement>(null)
  const input = useRef<HTMLInputElement>(null)
  const id = useId()
  const editTask = useEditTask()
  const announce = useAnnounce()
  const report = useReportProblem()
  const mounted = useMounted()
  useKeepRowWhileEditing(task.key, draft !== null)
  useUnsavedDraft(draft !== null && draft.text.trim() !== draft.base.title)

  /** Set the draft in the state and in `latest`. */
  function updateDraft(next: Draft | null) {
    latest.current = next
    setDraft(next)
  }

  /**
   * Show the text field (or, for null, the button) and move the focus to it in the same event: otherwise phones do not open
   * the on-screen keyboard, and the next key stroke is lost.
   */
  function showDraft(next: Draft | null, focus: boolean) {
    flushSync(() => updateDraft(next))
    if (focus) (next ? input : button).current?.focus()
  }

  /** Close the text field and send the title if it has changed; an empty title shows an error instead. */
  function save({ base, text }: Draft, focus: boolean, overwrite = false) {
    const title = text.trim()
    if (isBlank(title)) return showDraft({ base, text, error: "A task needs a title." }, focus)
    showDraft(null, focus)
    if (title !== base.title) void send(base, title, overwrite)
  }

  /** Send an edit; show an error or conflict in the text field, or in the list of problems if that is not possible. */
  async function send(base: Task, title: string, overwrite: boolean) {
    try {
      await editTask(base, { title }, { overwrite })
      announce("Task saved.")
    } catch (error) {
      const theirs = error instanceof ConflictError ? error.current : undefined
      // The row is unmounted or a newer edit is open in it: report the error in the list of problems instead.
      if (!mounted.current || latest.current) {
        const what = `“${base.title}” was not changed to “${title}”.`
        if (theirs) return report(what, error, () => void send(theirs, title, true), "Keep mine")
        return report(what, error, () => void send(base, title, overwrite))
      }
      // Open the field again with the rejected text, and focus it unless another element has the focus.
      const idle = document.activeElement === document.body || document.activeElement === button.current
      if (theirs) return showDraft({ base, text: title, theirs }, idle)
      const reason = error instanceof ApiError ? error.fields.title : undefined
      showDraft({ base, text: title, error: reason ?? userMessage(error) }, idle)
    }
  }

  if (!draft)
    return (
      <button
        ref={button}
        type="button"
        className={styles.title}
        data-part="title"
        aria-label={`Edit “${task.title}”`}
        onClick={() => showDraft({ base: task, text: task.title }, true)}
      >
        {task.title}
      </button>
    )

  const { theirs, error } = draft
  return (
    <form
      className={styles.titleForm}
      method="post"
      onSubmit={(event) => {
        event.preventDefault()
        if (!theirs) save(draft, true)
      }}
    >
      <TextField.Root
        ref={input}
        size="2"
        aria-label="Title"
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? id : undefined}
        autoComplete="off"
        enterKeyHint="done"
        spellCheck
        value={draft.text}
        onChange={(event) => updateDraft({ ...draft, text: event.target.value, error: undefined })}
        onFocus={(event) =>
          event.target.setSelectionRange(event.target.value.length, event.target.value.length)
        }
        onKeyDown={(event) => {
          if (event.key === "Escape") showDraft(null, true)
        }}
        onBlur={() => {
          // Save on blur, except after an error or a conflict, which stays open until the user decides.
          if (!error && !theirs) save(draft, false)
        }}
      />
      {error && <FieldError id={id}>{error}</FieldError>}
      {theirs && (
        <ConflictAlert
          theirVersion={`The title is now “${theirs.title}”.`}
          onKeepMine={() => save({ base: theirs, text: draft.text }, true, true)}
          onTakeTheirs={() => showDraft(null, true)}
        />
      )}
    </form>
  )
}
