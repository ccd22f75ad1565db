"use client"

import "./globals.css"

/** Stands in for the whole document when even its frame cannot be drawn, so it relies on next to nothing. */
export default function GlobalError({ retry }: { error: Error; retry: () => void }) {
  return (
    <html lang="en">
      <body>
        <main className="last-resort">
          <h1>Something went wrong</h1>
          <p>This page could not be shown. Nothing you saved is lost.</p>
          <button type="button" onClick={retry}>
            Try again
          </button>
        </main>
      </body>
    </html>
  )
}
