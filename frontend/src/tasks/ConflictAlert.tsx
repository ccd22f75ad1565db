import { Button } from "@radix-ui/themes/components/button"
import * as Callout from "@radix-ui/themes/components/callout"
import styles from "./TaskList.module.css"

type ConflictAlertProps = { now: string; onKeep(): void; onTake(): void }

export function ConflictAlert({ now, onKeep, onTake }: ConflictAlertProps) {
  return (
    <Callout.Root color="amber" size="1" role="alert" className={styles.conflict ?? ""}>
      <Callout.Text size="2">This task was changed elsewhere.</Callout.Text>
      {now && (
        <Callout.Text size="2" className={styles.theirs ?? ""}>
          {now}
        </Callout.Text>
      )}
      <div className={styles.conflictActions}>
        <Button type="button" size="2" color="iris" onClick={onKeep}>
          Keep mine
        </Button>
        <Button
          type="button"
          size="2"
          variant="soft"
          color="gray"
          className={styles.plain ?? ""}
          onClick={onTake}
        >
          Take theirs
        </Button>
      </div>
    </Callout.Root>
  )
}
