"use client"

import { createContext, useContext, useEffect, useRef, useState, type ReactNode } from "react"
import styles from "./feedback.module.css"

type Sonner = typeof import("sonner")
type Toast = { text: string; action: string; onAction(): void }

const ToastContext = createContext<(toast: Toast) => void>(() => undefined)

export function useToast(): (toast: Toast) => void {
  return useContext(ToastContext)
}

/** Sonner is loaded after the page has come to rest, since nobody deletes a task before that. */
export function Toasts({ children }: { children: ReactNode }) {
  const [sonner, setSonner] = useState<Sonner | null>(null)
  const loaded = useRef<Sonner | null>(null)
  const queued = useRef<Toast[]>([])
  const [{ show, load }] = useState(() => {
    function load() {
      if (!loaded.current) import("sonner").then(setSonner, () => undefined) // offline; the next toast tries again
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
        // Sonner gives the focus back to where it was when it leaves the toast. Let it do so now, before the action
        // moves the focus to where it belongs.
        event.currentTarget.blur()
        onAction()
      },
    },
  })
}
