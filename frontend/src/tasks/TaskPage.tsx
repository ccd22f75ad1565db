"use client"

import type { ReactNode } from "react"
import type { Filters } from "@/data/hooks"
import { ServicesProvider } from "@/data/ServicesProvider"
import { Announcer } from "@/feedback/Announcer"
import { ConnectionBanner } from "@/feedback/ConnectionBanner"
import { Problems } from "@/feedback/Problems"
import { Toasts } from "@/feedback/Toasts"
import { UnsavedChangesPrompt } from "@/feedback/UnsavedChangesPrompt"
import { TaskBoard } from "./TaskBoard"

type TaskPageProps = {
  apiUrl: string
  userId: string
  filters: Filters
  accountMenu: ReactNode
}

/** The task page with its context providers. `accountMenu` is a slot: modules of `tasks` do not import `account`. */
export function TaskPage({ apiUrl, userId, filters, accountMenu }: TaskPageProps) {
  return (
    <ServicesProvider apiUrl={apiUrl} userId={userId}>
      <Announcer>
        <Toasts>
          <Problems>
            <UnsavedChangesPrompt />
            <ConnectionBanner />
            <TaskBoard initialFilters={filters} accountMenu={accountMenu} />
          </Problems>
        </Toasts>
      </Announcer>
    </ServicesProvider>
  )
}
