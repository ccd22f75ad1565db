"use client"

import { useEffect, useRef, useState } from "react"
import { flushSync } from "react-dom"
import { AccountMenuButton } from "./AccountMenuButton"
import type { AccountMenuItems } from "./AccountMenuItems"

/** The button is there at once; the menu behind it, which brings its own positioning, is loaded when nothing else is to do. */
export function AccountMenu(props: { name: string; email: string }) {
  const [Items, setItems] = useState<typeof AccountMenuItems | null>(null)
  const [open, setOpen] = useState(false)
  const loadStarted = useRef(false)
  const opening = useRef(false)
  const container = useRef<HTMLDivElement>(null)

  function loadItems() {
    if (loadStarted.current) return
    loadStarted.current = true
    import("./AccountMenuItems").then(
      ({ AccountMenuItems }) => {
        // The button is replaced by the one of the menu, which takes over the focus; unless the menu opens with it, for
        // then the focus goes there, and taking it away would close the menu.
        const focused = container.current?.contains(document.activeElement)
        flushSync(() => setItems(() => AccountMenuItems))
        if (focused && !opening.current) container.current?.querySelector("button")?.focus()
      },
      () => (loadStarted.current = false), // offline; the next try asks again
    )
  }

  function show() {
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
          // As the menu's own button does it: the press opens, for this button may be gone before it is let go.
          onPointerDown={(event) => {
            if (event.button === 0 && !event.ctrlKey) show()
          }}
          onClick={show} // by the keyboard, or by what assists
        />
      )}
    </div>
  )
}
