"use client"

import { IconButton } from "@radix-ui/themes/components/icon-button"
import * as TextField from "@radix-ui/themes/components/text-field"
import { useId, useRef, useState, type RefObject } from "react"
import { ApiError, userMessage } from "@/api/errors"
import { isBlank } from "@/data/blank"
import { useAddTask, useUnsavedDraft } from "@/data/hooks"
import { useAnnounce } from "@/feedback/Announcer"
import { useReportProblem } from "@/feedback/Problems"
import { FieldError } from "@/form/Field"
import { PlusIcon } from "@/ui/icons"
import { useMounted } from "@/ui/useMounted"
import styles from "./TaskBoard.module.css"

/** Input that adds a task. After a rejected add it shows the title again, with the error. */
export function AddTask({ inputRef }: { inputRef: RefObject<HTMLInputElement | null> }) {
  const [text, setText] = useState("")
  const [error, setError] = useState<string>()
  const latestText = useRef("")
  const id = useId()
  const addTask = useAddTask()
  useUnsavedDraft(text.trim() !== "")
  const announce = useAnnounce()
  const report = useReportProblem()
  const mounted = useMounted()

  function updateText(next: string) {
    latestText.current = next
    setText(next)
  }

  /** Send a new task, and show an error in the input or in the list of problems. */
  async function add(title: string) {
    try {
      await addTask({ title })
      announce("Task added.")
    } catch (cause) {
      // Put the title back into the input, unless the component is unmounted or the user is typing the next title: then
      // report it in the list of problems, with a retry button.
      if (!mounted.current || (latestText.current.trim() && latestText.current !== title))
        return report(`“${title}” was not added.`, cause, () => void add(title))
      updateText(title)
      setError((cause instanceof ApiError && cause.fields.title) || userMessage(cause))
    }
  }

  return (
    <form
      className={styles.add}
      method="post"
      onSubmit={(event) => {
        event.preventDefault()
        inputRef.current?.focus()
        const title = text.trim()
        if (isBlank(title)) return
        updateText("")
        setError(undefined)
        void add(title)
      }}
    >
      <TextField.Root
        ref={inputRef}
        size="3"
        name="title"
        className={styles.addField ?? ""}
        aria-label="Add a task"
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? id : undefined}
        placeholder="Add a task"
        autoComplete="off"
        enterKeyHint="done"
        spellCheck
        value={text}
        onChange={(event) => {
          updateText(event.target.value)
          setError(undefined)
        }}
      >
        <TextField.Slot side="right">
          <IconButton type="submit" size="2" variant="soft" aria-label="Add">
            <PlusIcon />
          </IconButton>
        </TextField.Slot>
      </TextField.Root>
      {error && <FieldError id={id}>{error}</FieldError>}
    </form>
  )
}
