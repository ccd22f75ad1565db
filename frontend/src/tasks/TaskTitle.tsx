"use client"

import * as TextField from "@radix-ui/themes/components/text-field"
import { useId, useRef, useState } from "react"
import { flushSync } from "react-dom"
import { ApiError, ConflictError, sentence } from "@/api/problem"
import { FieldError } from "@/form/Field"
import { useAnnounce } from "./Announcer"
import { ConflictAlert } from "./ConflictAlert"
import { useEditTask, type Task, type TaskView } from "./queries"
import styles from "./tasks.module.css"

/** An edit under way. `seen`: the task as it was when the person began; what the words are compared with. */
type Draft = { seen: Task; text: string; error?: string | undefined; theirs?: Task | undefined }

export function TaskTitle({ task }: { task: TaskView }) {
  const [draft, setDraft] = useState<Draft | null>(null)
  const button = useRef<HTMLButtonElement>(null)
  const input = useRef<HTMLInputElement>(null)
  const id = useId()
  const editTask = useEditTask()
  const announce = useAnnounce()

  /** Focus has to follow in the same moment, or a phone would not show its keyboard, and the next key would be lost. */
  function show(next: Draft | null, focus: boolean) {
    flushSync(() => setDraft(next))
    if (focus) (next ? input : button).current?.focus()
  }

  async function save({ seen, text }: Draft, focus: boolean, overwrite = false) {
    const title = text.trim()
    if (!title) return show({ seen, text, error: "A task needs a title." }, focus)
    show(null, focus)
    if (title === seen.title) return
    try {
      await editTask(seen, { title }, { overwrite })
      announce("Task saved.")
    } catch (error) {
      // Opened again with what was typed. The focus comes along only if it would not be taken from anything.
      const idle = document.activeElement === document.body || document.activeElement === button.current
      if (error instanceof ConflictError) return show({ seen, text, theirs: error.current }, idle)
      const reason = error instanceof ApiError ? error.fields.title : undefined
      show({ seen, text, error: reason ?? sentence(error) }, idle)
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
        onClick={() => show({ seen: task, text: task.title }, true)}
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
        if (!theirs) void save(draft, true)
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
        onChange={(event) => setDraft({ ...draft, text: event.target.value, error: undefined })}
        onFocus={(event) =>
          event.target.setSelectionRange(event.target.value.length, event.target.value.length)
        }
        onKeyDown={(event) => {
          if (event.key === "Escape") show(null, true)
        }}
        onBlur={() => {
          // Leaving saves. What was refused already stays open until the person decides.
          if (!error && !theirs) void save(draft, false)
        }}
      />
      {error && <FieldError id={id}>{error}</FieldError>}
      {theirs && (
        <ConflictAlert
          now={`The title is now “${theirs.title}”.`}
          onKeep={() => void save({ seen: theirs, text: draft.text }, true, true)}
          onTake={() => show(null, true)}
        />
      )}
    </form>
  )
}
