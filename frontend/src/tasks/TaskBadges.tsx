import { Badge } from "@radix-ui/themes/components/badge"
import type { Task } from "@/data/hooks"
import { CalendarIcon, NoteIcon, RepeatIcon } from "@/ui/icons"
import { formatDue } from "./dueLabel"
import { recurrenceLabel } from "./recurrence"
import styles from "./TaskList.module.css"

const PRIORITIES = {
  none: null,
  low: { label: "Low", color: "gray" },
  medium: { label: "Medium", color: "iris" },
  high: { label: "High", color: "amber" },
} as const

/** Badges below the title: due date, recurrence, priority, tags, and whether there is a description. */
export function TaskBadges({ task }: { task: Task }) {
  const due = formatDue(task, new Date())
  const priority = PRIORITIES[task.priority]
  if (!due && !priority && !task.recurrence && !task.description && task.tags.length === 0) return null
  return (
    <div className={styles.badges}>
      {due && (
        <Badge color={due.overdue ? "red" : "gray"}>
          <CalendarIcon />
          {due.overdue && "Overdue: "}
          {due.label}
        </Badge>
      )}
      {task.recurrence && (
        <Badge color="gray">
          <RepeatIcon />
          <span className="visually-hidden">Repeats: </span>
          {recurrenceLabel(task.recurrence, task.due_date ?? "")}
        </Badge>
      )}
      {priority && (
        <Badge color={priority.color}>
          {priority.label}
          <span className="visually-hidden"> priority</span>
        </Badge>
      )}
      {task.tags.map((tag) => (
        <Badge key={tag} color="gray" variant="outline" className={styles.tag}>
          {tag}
        </Badge>
      ))}
      {task.description && (
        <span className={styles.note}>
          <NoteIcon />
          <span className="visually-hidden">Has a description</span>
        </span>
      )}
    </div>
  )
}
