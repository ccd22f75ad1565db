"use client"

import { createContext, useContext, useState, type ReactNode } from "react"

const Announce = createContext<(text: string) => void>(() => undefined)

/** Says to people who do not see the page what has just happened on it. */
export function useAnnounce(): (text: string) => void {
  return useContext(Announce)
}

export function Announcer({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState({ text: "", times: 0 })
  const [announce] = useState(() => (text: string) => setSaid(({ times }) => ({ text, times: times + 1 })))
  return (
    <Announce value={announce}>
      {children}
      <div aria-live="polite" className="visually-hidden">
        {/* A new element each time, or the same words twice in a row would be said once. */}
        <span key={said.times}>{said.text}</span>
      </div>
    </Announce>
  )
}
