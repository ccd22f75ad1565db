import type { ThemeProps } from "@radix-ui/themes/components/theme"

/** How Radix Themes looks here. */
export const theme = { accentColor: "iris", grayColor: "slate", radius: "large" } satisfies ThemeProps
