"use client"

import { Theme } from "@radix-ui/themes/components/theme"
import type { ReactNode } from "react"
import { theme } from "./theme"

/** Tells what is drawn elsewhere in the document, such as menus and dialogs, how things look here. */
export function OverlayTheme({ children }: { children: ReactNode }) {
  return (
    <Theme {...theme} panelBackground="solid" hasBackground={false} className="overlay-theme">
      {children}
    </Theme>
  )
}
