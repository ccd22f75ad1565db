"use client"

import { createContext, useContext, useState, type ReactNode } from "react"

const AnnounceContext = createContext<(text: string) => void>(() => undefined)

/** Says to people who do not see the page what has just happened on it. */
export function useAnnounce(): (text: string) => void {
  return useContext(AnnounceContext)
}

export function Announcer({ children }: { children: ReactNode }) {
  const [message, setMessage] = useState({ text: "", times: 0 })
  const [announce] = useState(() => (text: string) => setMessage(({ times }) => ({ text, times: times + 1 })))
  return (
    <AnnounceContext value={announce}>
      {children}
      <div aria-live="polite" className="visually-hidden">
        {/* A new element each time, or the same words twice in a row would be said once. */}
        <span key={message.times}>{message.text}</span>
      </div>
    </AnnounceContext>
  )
}
