import type { Metadata, Viewport } from "next"
import { headers } from "next/headers"
import type { ReactNode } from "react"
import { ThemeFrame } from "@/ui/ThemeFrame"
import "./globals.css"

export const metadata: Metadata = {
  title: { default: "Tasks", template: "%s · Tasks" },
  description: "What there is to do.",
}

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f9f9fb" },
    { media: "(prefers-color-scheme: dark)", color: "#111113" },
  ],
}

// Radix Themes switches to dark by a class. This script sets it before the first paint and when the system setting changes.
const colorSchemeScript = `(()=>{const dark=matchMedia("(prefers-color-scheme: dark)");
const follow=()=>document.documentElement.classList.toggle("dark",dark.matches);
follow();dark.addEventListener("change",follow)})()`

/** Root layout: language, theme and color scheme. */
export default async function Layout({ children }: { children: ReactNode }) {
  const nonce = (await headers()).get("x-nonce") ?? undefined
  return (
    <html lang="en" suppressHydrationWarning>
      <body>
        <script
          nonce={nonce}
          suppressHydrationWarning
          dangerouslySetInnerHTML={{ __html: colorSchemeScript }}
        />
        <ThemeFrame>{children}</ThemeFrame>
      </body>
    </html>
  )
}
