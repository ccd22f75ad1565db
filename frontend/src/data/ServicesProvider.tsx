"use client"

import { QueryClientProvider } from "@tanstack/react-query"
import { createContext, use, useEffect, useState, type JSX, type ReactNode } from "react"
import { servicesOf, type Services } from "./services"

const ServicesContext = createContext<Services | undefined>(undefined)

type Props = { apiUrl: string; userId: string; children: ReactNode }

/** Gives the pages of one person what they need to read and change that person's tasks. */
export function ApiProvider(props: Props): JSX.Element {
  return <PersonProvider key={JSON.stringify([props.apiUrl, props.userId])} {...props} />
}

function PersonProvider({ apiUrl, userId, children }: Props): JSX.Element {
  const [services] = useState(() => servicesOf(apiUrl, userId))
  useEffect(() => {
    const { token, tabs, tasks } = services
    const look = () => {
      // Whoever comes back to this tab may have signed in again in another one.
      void token.look().then(() => tasks.pulse.look())
    }
    const close = tabs.open((what) => {
      // Whether the session has ended is for the token's issuer to say.
      if (what === "signed-out") void token.doubt()
      else void tasks.pulse.look()
    })
    // TanStack looks when the tab comes into view; a window may be in view without having been the one in use.
    window.addEventListener("focus", look)
    return () => {
      window.removeEventListener("focus", look)
      close()
      token.drop()
    }
  }, [services])

  return (
    <ServicesContext value={services}>
      <QueryClientProvider client={services.client}>{children}</QueryClientProvider>
    </ServicesContext>
  )
}

export function useServices(): Services {
  const services = use(ServicesContext)
  if (!services) throw new Error("This component needs an ApiProvider around it.")
  return services
}
