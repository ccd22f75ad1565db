"use client"

import "./globals.css"

/** Error boundary for errors in the root layout: renders its own <html>, without theme or providers. */
export default function GlobalError({ retry }: { error: Error; retry: () => void }) {
  return (
    <html lang="en">
      <body>
        <main className="global-error">
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
