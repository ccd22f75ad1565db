import path from "node:path"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { alias: { "@": path.join(import.meta.dirname, "src") } },
  test: {
    environment: "node",
    include: ["src/**/*.test.{ts,tsx}"],
    // Signing up hashes a password with scrypt, which is slow on purpose.
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
