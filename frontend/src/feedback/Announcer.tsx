"use client"

import { createContext, useContext, useState, type ReactNode } from "react"

const AnnounceContext = createContext<(text: string) => void>(() => undefined)

/** Return a function that announces a text to screen readers (ARIA live region). */
export function useAnnounce(): (text: string) => void {
  return useContext(AnnounceContext)
}

/** Provider of `useAnnounce`; renders the live region. */
export function Announcer({ children }: { children: ReactNode }) {
  const [message, setMessage] = useState({ text: "", count: 0 })
  const [announce] = useState(() => (text: string) => setMessage(({ count }) => ({ text, count: count + 1 })))
  return (
    <AnnounceContext value={announce}>
      {children}
      <div aria-live="polite" className="visually-hidden">
        {/* A new key for each message: screen readers do not announce an unchanged text again. */}
        <span key={message.count}>{message.text}</span>
      </div>
    </AnnounceContext>
  )
}
