import path from "node:path"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { alias: { "@": path.join(import.meta.dirname, "src") } },
  test: {
    environment: "node",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/testing/fastPasswordHash.ts"],
    // Sign-up hashes a password with scrypt, which is slow by design.
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
