"use client"

import { Checkbox } from "@radix-ui/themes/components/checkbox"
import { IconButton } from "@radix-ui/themes/components/icon-button"
import { memo, useId, useRef, useState } from "react"
import type { TaskView } from "@/data/hooks"
import { ChevronIcon, TrashIcon } from "@/ui/icons"
import { TaskBadges } from "./TaskBadges"
import { TaskDetails } from "./TaskDetails"
import styles from "./TaskList.module.css"
import { TaskTitle } from "./TaskTitle"

type TaskRowProps = {
  task: TaskView
  onComplete(task: TaskView, completed: boolean): void
  onDelete(task: TaskView): void
}

/** One task: checkbox, title, badges, and the form for its details while expanded. */
export const TaskRow = memo(function TaskRow({ task, onComplete, onDelete }: TaskRowProps) {
  const [expanded, setExpanded] = useState(false)
  const expandButton = useRef<HTMLButtonElement>(null)
  const id = useId()

  /** Close the form for details and return the focus to its button. */
  function collapse() {
    setExpanded(false)
    expandButton.current?.focus()
  }

  return (
    <li
      className={styles.row}
      data-key={task.key}
      data-done={task.completed ? "" : undefined}
      data-pending={task.pending ? "" : undefined}
      data-expanded={expanded ? "" : undefined}
    >
      <label className={styles.check}>
        <Checkbox
          size="3"
          data-part="check"
          aria-label={`Complete “${task.title}”`}
          checked={task.completed}
          onCheckedChange={(checked) => onComplete(task, checked === true)}
        />
      </label>
      <div className={styles.body}>
        <TaskTitle task={task} />
        <TaskBadges task={task} />
      </div>
      <div className={styles.rowActions}>
        <IconButton
          ref={expandButton}
          size="2"
          variant="ghost"
          color="gray"
          className={styles.expand ?? ""}
          data-part="more"
          aria-label={`More about “${task.title}”`}
          aria-expanded={expanded}
          aria-controls={expanded ? id : undefined}
          onClick={() => setExpanded(!expanded)}
        >
          <ChevronIcon />
        </IconButton>
        <IconButton
          size="2"
          variant="ghost"
          color="gray"
          aria-label={`Delete “${task.title}”`}
          onClick={() => onDelete(task)}
        >
          <TrashIcon />
        </IconButton>
      </div>
      {expanded && <TaskDetails id={id} task={task} onClose={collapse} />}
    </li>
  )
})
