import type { Metadata } from "next"
import { headers } from "next/headers"
import { redirect } from "next/navigation"
import { AccountPage } from "@/account/AccountPage"
import { getSession } from "@/server/auth"
import { settings } from "@/server/settings"

export const metadata: Metadata = { title: "Account" }

/** Account page; redirects users without a session to the sign-in page. */
export default async function Page() {
  const session = await getSession(await headers())
  if (!session) redirect("/sign-in")
  const { id, name, email } = session.user
  return <AccountPage apiUrl={settings().apiUrl} user={{ id, name, email }} sessionId={session.session.id} />
}
