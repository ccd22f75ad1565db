"use client"

import { useEffect, useRef, useState } from "react"
import { flushSync } from "react-dom"
import { AccountMenuButton } from "./AccountMenuButton"
import type { AccountMenuItems } from "./AccountMenuItems"

/**
 * Account menu. Renders a plain button first and loads the menu, whose positioning script is large, after 1.5 s or when the
 * button is used.
 */
export function AccountMenu(props: { name: string; email: string }) {
  const [Items, setItems] = useState<typeof AccountMenuItems | null>(null)
  const [open, setOpen] = useState(false)
  const loadStarted = useRef(false)
  const opening = useRef(false)
  const container = useRef<HTMLDivElement>(null)

  /** Load the menu once; a failed download is retried at the next call. */
  function loadItems() {
    if (loadStarted.current) return
    loadStarted.current = true
    import("./AccountMenuItems").then(
      ({ AccountMenuItems }) => {
        // The menu replaces the plain button by its own: move the focus to it, unless the menu opens, because then its
        // items have the focus and losing it would close the menu.
        const focused = container.current?.contains(document.activeElement)
        flushSync(() => setItems(() => AccountMenuItems))
        if (focused && !opening.current) container.current?.querySelector("button")?.focus()
      },
      () => (loadStarted.current = false), // offline: the next use of the button retries
    )
  }

  /** Open the menu as soon as it has loaded. */
  function openMenu() {
    opening.current = true
    setOpen(true)
    loadItems()
  }

  useEffect(() => {
    const timer = setTimeout(loadItems, 1500)
    return () => clearTimeout(timer)
  }, [])

  return (
    <div ref={container}>
      {Items ? (
        <Items {...props} open={open} onOpenChange={setOpen} />
      ) : (
        <AccountMenuButton
          aria-haspopup="menu"
          aria-expanded={false}
          onPointerEnter={loadItems}
          onFocus={loadItems}
          // Open on press as the menu's own button does: this button may be replaced before the pointer is released.
          onPointerDown={(event) => {
            if (event.button === 0 && !event.ctrlKey) openMenu()
          }}
          onClick={openMenu} // keyboard and assistive technology send no pointer events
        />
      )}
    </div>
  )
}
