import type { NextConfig } from "next"

const config: NextConfig = {
  // So that two builds can stand side by side.
  distDir: process.env.NEXT_DIST_DIR || ".next",
  poweredByHeader: false,
  // Has a native part that cannot be bundled. (@libsql/client and pg are on Next's own list of these.)
  serverExternalPackages: ["@libsql/kysely-libsql"],
  // These hold for every setting; what depends on one is in src/proxy.ts.
  headers: async () => [
    {
      source: "/:path*",
      headers: [
        { key: "X-Content-Type-Options", value: "nosniff" },
        { key: "X-Frame-Options", value: "DENY" },
        // The address of the page for a new password contains the token for it. Not `no-referrer`: it would turn the
        // Origin of a form into `null`, which Better Auth refuses.
        { key: "Referrer-Policy", value: "strict-origin" },
        { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
        { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
      ],
    },
  ],
}

export default config
