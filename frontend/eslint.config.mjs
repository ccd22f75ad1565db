import next from "eslint-config-next"
import typescript from "eslint-config-next/typescript"

const config = [...next, ...typescript, { ignores: [".next*/**", "next-env.d.ts", "src/api/schema.d.ts"] }]
export default config
