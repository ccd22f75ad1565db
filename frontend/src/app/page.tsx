import { headers } from "next/headers"
import { redirect } from "next/navigation"
import { AccountMenu } from "@/account/AccountMenu"
import { getSession } from "@/server/auth"
import { settings } from "@/server/settings"
import { parseFilters } from "@/tasks/filterUrl"
import { TaskPage } from "@/tasks/TaskPage"

type PageProps = { searchParams: Promise<Record<string, string | string[] | undefined>> }

/** Task page; redirects users without a session to the sign-in page. */
export default async function Page({ searchParams }: PageProps) {
  const session = await getSession(await headers())
  if (!session) redirect("/sign-in")
  const { id, name, email } = session.user
  const params = await searchParams
  const filters = parseFilters((key) => [params[key] ?? ""].flat()[0] ?? "")
  return (
    <TaskPage
      apiUrl={settings().apiUrl}
      userId={id}
      filters={filters}
      accountMenu={<AccountMenu name={name} email={email} />}
    />
  )
}
