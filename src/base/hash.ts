import { builtinModule } from './builtin-module.ts'

/** SHA-256 of a text. */
export function sha256(text: string, encoding: 'hex' | 'base64url'): string {
  return crypto().createHash('sha256').update(text).digest(encoding)
}

/** HMAC-SHA-256 of a text. Hexadecimal, because names of streams must not differ only in case. */
export function keyedHash(key: string | Uint8Array, text: string): string {
  return crypto().createHmac('sha256', key).update(text).digest('hex')
}

/**
 * Not `crypto.subtle`, which is asynchronous: commands could change their order while they wait for it. Loaded with the first
 * hash, because it would be a tenth of the time that importing Mneme takes.
 */
function crypto(): Crypto {
  return (loaded ??= builtinModule<Crypto>('node:crypto') as Crypto)
}

/** The part of `node:crypto` used here. */
interface Crypto {
  createHash(algorithm: 'sha256'): Hash
  createHmac(algorithm: 'sha256', key: string | Uint8Array): Hash
}

interface Hash {
  update(text: string): { digest(encoding: 'hex' | 'base64url'): string }
}

let loaded: Crypto | undefined
