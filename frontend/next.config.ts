import type { NextConfig } from "next"

const config: NextConfig = {
  // Allows two builds in one checkout.
  distDir: process.env.NEXT_DIST_DIR || ".next",
  // For the image (Dockerfile): copies the files that the server loads. `next start` does not serve such a build.
  ...(process.env.NEXT_OUTPUT === "standalone" && { output: "standalone" as const }),
  poweredByHeader: false,
  // Contains a native module, which cannot be bundled. (@libsql/client and pg are external by default in Next.js.)
  serverExternalPackages: ["@libsql/kysely-libsql"],
  // Headers that depend on no setting; the others are in src/proxy.ts.
  headers: async () => [
    {
      source: "/:path*",
      headers: [
        { key: "X-Content-Type-Options", value: "nosniff" },
        { key: "X-Frame-Options", value: "DENY" },
        // The URL of the reset-password page contains the reset token. Not `no-referrer`: with it, browsers send
        // `Origin: null` with a form, which Better Auth rejects.
        { key: "Referrer-Policy", value: "strict-origin" },
        { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
        { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
      ],
    },
  ],
}

export default config
