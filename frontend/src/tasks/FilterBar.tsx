"use client"

import * as TextField from "@radix-ui/themes/components/text-field"
import type { Filters } from "@/data/hooks"
import { Select } from "@/form/Select"
import { SearchIcon } from "@/ui/icons"
import { showOptions, sortOptions } from "./filterUrl"
import styles from "./TaskBoard.module.css"

type FilterBarProps = { filters: Filters; onChange(filters: Filters): void }

/** Controls for status, search and sort of the list. */
export function FilterBar({ filters, onChange }: FilterBarProps) {
  return (
    <div role="search" aria-label="Tasks" className={styles.filters}>
      <div role="radiogroup" aria-label="Show" className={styles.segments}>
        {showOptions.map(({ value, label }) => (
          <label key={value} className={styles.segment}>
            <input
              type="radio"
              name="show"
              value={value}
              checked={filters.show === value}
              onChange={() => onChange({ ...filters, show: value })}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
      <TextField.Root
        type="search"
        size="3"
        className={styles.search ?? ""}
        aria-label="Search tasks"
        placeholder="Search"
        value={filters.search}
        onChange={(event) => onChange({ ...filters, search: event.target.value })}
      >
        <TextField.Slot>
          <SearchIcon />
        </TextField.Slot>
      </TextField.Root>
      <Select
        aria-label="Sort by"
        className={styles.sort}
        value={filters.sort}
        onChange={(event) => {
          const sort = sortOptions.find(({ value }) => value === event.target.value)
          if (sort) onChange({ ...filters, sort: sort.value })
        }}
      >
        {sortOptions.map(({ value, label }) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </Select>
    </div>
  )
}
