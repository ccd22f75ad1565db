"use client"

import { QueryClientProvider } from "@tanstack/react-query"
import { createContext, use, useEffect, useState, type JSX, type ReactNode } from "react"
import { getServices, type Services } from "./services"

const ServicesContext = createContext<Services | undefined>(undefined)

type Props = { apiUrl: string; userId: string; children: ReactNode }

/** React context provider of one user's services, for the hooks in `hooks.ts`. */
export function ServicesProvider(props: Props): JSX.Element {
  return <UserServicesProvider key={JSON.stringify([props.apiUrl, props.userId])} {...props} />
}

/** Polls when the window gets the focus and on events of other tabs; a new `key` replaces it for another user. */
function UserServicesProvider({ apiUrl, userId, children }: Props): JSX.Element {
  const [services] = useState(() => getServices(apiUrl, userId))
  useEffect(() => {
    const { token, tabs, tasks } = services
    const recheck = () => {
      // The user may have signed in again in another tab.
      void token.recheckSession().then(() => tasks.poller.poll())
    }
    const unsubscribe = tabs.subscribe((event) => {
      // The auth server decides whether the session has ended, not the other tab.
      if (event === "signed-out") void token.verifySignOut()
      else void tasks.poller.poll()
    })
    // TanStack Query refetches on `visibilitychange` only; a visible window can get the focus without that event.
    window.addEventListener("focus", recheck)
    return () => {
      window.removeEventListener("focus", recheck)
      unsubscribe()
      token.clear()
    }
  }, [services])

  return (
    <ServicesContext value={services}>
      <QueryClientProvider client={services.client}>{children}</QueryClientProvider>
    </ServicesContext>
  )
}

/** Return the services of the signed-in user; throws if the component has no `ServicesProvider` above it. */
export function useServices(): Services {
  const services = use(ServicesContext)
  if (!services) throw new Error("This component needs a ServicesProvider above it.")
  return services
}
