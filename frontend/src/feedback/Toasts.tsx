"use client"

import { createContext, useContext, useEffect, useRef, useState, type ReactNode } from "react"
import styles from "./feedback.module.css"

type Sonner = typeof import("sonner")
type Toast = { text: string; action: string; onAction(): void }

const ToastContext = createContext<(toast: Toast) => void>(() => undefined)

/** Return a function that shows a toast with one action button. */
export function useToast(): (toast: Toast) => void {
  return useContext(ToastContext)
}

/** Provider of `useToast`. Loads the library sonner 1.5 s after the page or at the first toast; earlier toasts are queued. */
export function Toasts({ children }: { children: ReactNode }) {
  const [sonner, setSonner] = useState<Sonner | null>(null)
  const loaded = useRef<Sonner | null>(null)
  const queued = useRef<Toast[]>([])
  const [{ show, load }] = useState(() => {
    function load() {
      if (!loaded.current) import("sonner").then(setSonner, () => undefined) // offline: the next toast retries
    }
    function show(toast: Toast) {
      if (loaded.current) return showToast(loaded.current, toast)
      queued.current.push(toast)
      load()
    }
    return { show, load }
  })

  useEffect(() => {
    const timer = setTimeout(load, 1500)
    return () => clearTimeout(timer)
  }, [load])

  useEffect(() => {
    if (!sonner) return
    loaded.current = sonner
    for (const toast of queued.current.splice(0)) showToast(sonner, toast)
  }, [sonner])

  return (
    <ToastContext value={show}>
      {children}
      {sonner && (
        <sonner.Toaster position="bottom-center" duration={8000} visibleToasts={3} gap={8} offset={20} />
      )}
    </ToastContext>
  )
}

/** Show a toast with the classes of our style sheet. */
function showToast(sonner: Sonner, { text, action, onAction }: Toast): void {
  sonner.toast(text, {
    unstyled: true,
    classNames: {
      toast: styles.toast ?? "",
      title: styles.toastText ?? "",
      actionButton: styles.toastAction ?? "",
    },
    action: {
      label: action,
      onClick(event) {
        // Sonner restores the previous focus when the toast loses it. Trigger that before the action sets the focus.
        event.currentTarget.blur()
        onAction()
      },
    },
  })
}
