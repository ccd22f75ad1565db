"use client"

import { Heading } from "@radix-ui/themes/components/heading"
import { Text } from "@radix-ui/themes/components/text"
import { useRef, useState, type ReactNode } from "react"
import { AddTask } from "./AddTask"
import { FilterBar } from "./FilterBar"
import { addressOf } from "./filterUrl"
import { useOpenCount, type Filters } from "@/data/hooks"
import { TaskList } from "./TaskList"
import styles from "./TaskBoard.module.css"

type TaskBoardProps = { initialFilters: Filters; accountMenu: ReactNode }

export function TaskBoard({ initialFilters, accountMenu }: TaskBoardProps) {
  const [filters, setFilters] = useState(initialFilters)
  const box = useRef<HTMLInputElement>(null)

  function change(next: Filters) {
    setFilters(next)
    window.history.replaceState(null, "", addressOf(next))
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
      <AddTask box={box} />
      <FilterBar filters={filters} onChange={change} />
      <TaskList filters={filters} box={box} />
    </main>
  )
}

function OpenCount() {
  const count = useOpenCount()
  return (
    <Text as="p" size="3" color="gray" className={styles.count}>
      {count === undefined ? "" : `${count.toLocaleString("en")} open`}
    </Text>
  )
}
