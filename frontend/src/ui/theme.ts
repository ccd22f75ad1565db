import type { ThemeProps } from "@radix-ui/themes/components/theme"

/** Colors and corner radius of Radix Themes. */
export const theme = { accentColor: "iris", grayColor: "slate", radius: "large" } satisfies ThemeProps
