import { Button } from "@radix-ui/themes/components/button"
import * as Callout from "@radix-ui/themes/components/callout"
import styles from "./TaskList.module.css"

type ConflictAlertProps = { theirVersion: string; onKeepMine(): void; onTakeTheirs(): void }

/** Alert after an edit conflict: shows the other client's values and lets the user keep or discard the own edit. */
export function ConflictAlert({ theirVersion, onKeepMine, onTakeTheirs }: ConflictAlertProps) {
  return (
    <Callout.Root color="amber" size="1" role="alert" className={styles.conflict ?? ""}>
      <Callout.Text size="2">This task was changed elsewhere.</Callout.Text>
      {theirVersion && (
        <Callout.Text size="2" className={styles.theirVersion ?? ""}>
          {theirVersion}
        </Callout.Text>
      )}
      <div className={styles.conflictActions}>
        <Button type="button" size="2" color="iris" onClick={onKeepMine}>
          Keep mine
        </Button>
        <Button
          type="button"
          size="2"
          variant="soft"
          color="gray"
          className={styles.grayButton ?? ""}
          onClick={onTakeTheirs}
        >
          Take theirs
        </Button>
      </div>
    </Callout.Root>
  )
}
