"use client"

import { Heading } from "@radix-ui/themes/components/heading"
import { Text } from "@radix-ui/themes/components/text"
import { useRef, useState, type ReactNode } from "react"
import { useOpenCount, type Filters } from "@/data/hooks"
import { AddTask } from "./AddTask"
import { FilterBar } from "./FilterBar"
import { filtersUrl } from "./filterUrl"
import styles from "./TaskBoard.module.css"
import { TaskList } from "./TaskList"

type TaskBoardProps = { initialFilters: Filters; accountMenu: ReactNode }

/** The main content of the task page; keeps the filters in its state and in the URL. */
export function TaskBoard({ initialFilters, accountMenu }: TaskBoardProps) {
  const [filters, setFilters] = useState(initialFilters)
  const addInput = useRef<HTMLInputElement>(null)

  /** Set the filters and write them to the URL, without a navigation. */
  function changeFilters(next: Filters) {
    setFilters(next)
    window.history.replaceState(null, "", filtersUrl(next))
  }

  return (
    <main className={styles.page}>
      <header className={styles.header}>
        <div>
          <Heading as="h1" size="8">
            Tasks
          </Heading>
          <OpenCount />
        </div>
        {accountMenu}
      </header>
      <AddTask inputRef={addInput} />
      <FilterBar filters={filters} onChange={changeFilters} />
      <TaskList filters={filters} addInput={addInput} />
    </main>
  )
}

/** The line "12 open" below the heading. */
function OpenCount() {
  const count = useOpenCount()
  return (
    <Text as="p" size="3" color="gray" className={styles.count}>
      {count === undefined ? "" : `${count.toLocaleString("en")} open`}
    </Text>
  )
}
