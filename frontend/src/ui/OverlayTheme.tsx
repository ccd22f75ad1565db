"use client"

import { Theme } from "@radix-ui/themes/components/theme"
import type { ReactNode } from "react"
import { theme } from "./theme"

/** Radix theme for overlays such as menus and dialogs, which are rendered outside of `ThemeFrame`. */
export function OverlayTheme({ children }: { children: ReactNode }) {
  return (
    <Theme {...theme} panelBackground="solid" hasBackground={false} className="overlay-theme">
      {children}
    </Theme>
  )
}
