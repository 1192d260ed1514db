import { builtinModule } from './builtin-module.ts'

/** The length of a key of AES-256, in bytes. */
export const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Bytes that {@link encrypt} adds to a text. */
export const CIPHER_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES

/** Random bytes for keys and nonces, from the runtime's generator for cryptography. */
export function secureBytes(length: number): Uint8Array {
  return crypto().randomBytes(length)
}

/** Encrypts by AES-256-GCM under a random nonce: nonce, text, tag. `context` is authenticated with it, and not kept. */
export function encrypt(key: Uint8Array, plain: Uint8Array, context: string): Uint8Array {
  const nonce = secureBytes(NONCE_BYTES)
  const cipher = crypto().createCipheriv(ALGORITHM, key, nonce, OPTIONS)
  cipher.setAAD(encoder.encode(context))
  return joined([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** What {@link encrypt} encrypted; `undefined` if key or context are others, or a byte was changed. */
export function decrypt(key: Uint8Array, sealed: Uint8Array, context: string): Uint8Array | undefined {
  if (sealed.length < CIPHER_OVERHEAD_BYTES) return undefined
  const end = sealed.length - TAG_BYTES
  const decipher = crypto().createDecipheriv(ALGORITHM, key, sealed.subarray(0, NONCE_BYTES), OPTIONS)
  decipher.setAAD(encoder.encode(context))
  decipher.setAuthTag(sealed.subarray(end))
  const text = decipher.update(sealed.subarray(NONCE_BYTES, end))
  try {
    return joined([text, decipher.final()])
  } catch {
    return undefined
  }
}

/** These bytes, one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const ALGORITHM = 'aes-256-gcm'
const OPTIONS = { authTagLength: TAG_BYTES } as const
const encoder = new TextEncoder()

/** Not `crypto.subtle`, which would make a promise of every value. Loaded with the first value: see `hash.ts`. */
function crypto(): Crypto {
  return (loaded ??= builtinModule<Crypto>('node:crypto') as Crypto)
}

let loaded: Crypto | undefined

/** The part of `node:crypto` used here. */
interface Crypto {
  randomBytes(length: number): Uint8Array
  createCipheriv(algorithm: string, key: Uint8Array, nonce: Uint8Array, options: object): Cipher
  createDecipheriv(algorithm: string, key: Uint8Array, nonce: Uint8Array, options: object): Decipher
}

interface Coder {
  setAAD(context: Uint8Array): unknown
  update(bytes: Uint8Array): Uint8Array
  final(): Uint8Array
}

interface Cipher extends Coder {
  getAuthTag(): Uint8Array
}

interface Decipher extends Coder {
  setAuthTag(tag: Uint8Array): unknown
}
