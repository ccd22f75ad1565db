import type { ReactNode } from "react"
import { theme } from "./theme"

/**
 * The element that Radix' <Theme> renders, without its script: <Theme> adds 16 kB for tooltips and their positioning to
 * every page. Overlays, which need it, are loaded later with a theme of their own (`OverlayTheme`).
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
