import type { ReactNode } from "react"
import { theme } from "./theme"

/**
 * The markup that <Theme> makes. <Theme> itself would bring the script of tooltips and their positioning, 16 kB, to
 * every page; what opens over a page needs it, is loaded later, and has one of its own (OverlayTheme).
 */
export function ThemeFrame({ children }: { children: ReactNode }) {
  return (
    <div
      className="radix-themes"
      data-is-root-theme="true"
      data-accent-color={theme.accentColor}
      data-gray-color={theme.grayColor}
      data-has-background="true"
      data-panel-background="solid"
      data-radius={theme.radius}
      data-scaling="100%"
    >
      {children}
    </div>
  )
}
