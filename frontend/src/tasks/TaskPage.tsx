"use client"

import { ApiProvider } from "@/api/ApiProvider"
import { Announcer } from "./Announcer"
import { ConnectionBanner } from "./ConnectionBanner"
import { Problems } from "./Problems"
import type { Filters } from "./queries"
import { TaskBoard } from "./TaskBoard"
import { Toasts } from "./Toasts"
import { UnsavedGuard } from "./UnsavedGuard"

type TaskPageProps = {
  apiUrl: string
  user: { id: string; name: string; email: string }
  filters: Filters
}

export function TaskPage({ apiUrl, user, filters }: TaskPageProps) {
  return (
    <ApiProvider apiUrl={apiUrl} userId={user.id}>
      <Announcer>
        <Toasts>
          <Problems>
            <UnsavedGuard />
            <ConnectionBanner />
            <TaskBoard user={user} initialFilters={filters} />
          </Problems>
        </Toasts>
      </Announcer>
    </ApiProvider>
  )
}
