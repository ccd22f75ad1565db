import crypto from "node:crypto"
import { syncBuiltinESMExports } from "node:module"

// Better Auth hashes passwords with scrypt and N = 16384, which is slow by design: 32 MB and most of the CPU time of these
// tests. They do not depend on the strength of the hash; the browser tests use the production parameters.
const COST = 2

type Options = crypto.ScryptOptions
type Callback = (error: Error | null, key: Buffer) => void

const { scrypt } = crypto

crypto.scrypt = ((password, salt, length, options: Options, callback: Callback) => {
  scrypt(password, salt, length, { ...options, N: COST }, callback)
}) as typeof crypto.scrypt
// Makes `import { scrypt } from "node:crypto"` return the replacement.
syncBuiltinESMExports()
