import { Buffer } from 'node:buffer'
import { CIPHER_OVERHEAD_BYTES, decrypt, encrypt, joined } from '../base/cipher.ts'

/** A sealed text, taken apart. */
export interface SealParts {
  /** The id of the event that it was sealed for. */
  readonly id: string
  /** The path in that event's data. */
  readonly path: string
  /** The keyed hash of the subject. */
  readonly subject: string
  readonly encrypted: Uint8Array
}

/** A value sealed for one place: `<id of the event>:<path>:<version, subject, nonce, encrypted value and tag in base64url>`. */
export function sealText(
  text: string,
  key: Uint8Array,
  { id, path, subject }: Omit<SealParts, 'encrypted'>,
): string {
  // Spaces behind JSON change nothing, and hide whether it says true or false.
  const padding = PADDING_BYTES - (Buffer.byteLength(text) % PADDING_BYTES || PADDING_BYTES)
  const plain = Buffer.from(text + ' '.repeat(padding))
  const encrypted = encrypt(key, plain, contextOf(id, path, subject))
  const whole = joined([Uint8Array.of(VERSION), Buffer.from(subject, 'hex'), encrypted])
  return `${id}:${path}:${Buffer.from(whole).toString('base64url')}`
}

/** The parts of a sealed text; `undefined` if it is none. */
export function partsOf(text: string): SealParts | undefined {
  const end = text.lastIndexOf(':')
  const bytes = Buffer.from(text.slice(end + 1), 'base64url')
  const isComplete =
    text[ID_LENGTH] === ':' && end > ID_LENGTH && bytes[0] === VERSION && bytes.length >= MIN_BYTES
  if (!isComplete) return undefined
  return {
    id: text.slice(0, ID_LENGTH),
    path: text.slice(ID_LENGTH + 1, end),
    subject: bytes.subarray(1, 1 + SUBJECT_BYTES).toString('hex'),
    encrypted: bytes.subarray(1 + SUBJECT_BYTES),
  }
}

/** The value of a sealed text as JSON; `undefined` if the key is another, or a byte was changed. */
export function openText({ id, path, subject, encrypted }: SealParts, key: Uint8Array): string | undefined {
  const plain = decrypt(key, encrypted, contextOf(id, path, subject))
  return plain && Buffer.from(plain).toString()
}

/** What is authenticated with a value. A text has no other parts of variable length than the path, at its end. */
function contextOf(id: string, path: string, subject: string): string {
  return `mneme:${String(VERSION)}:${subject}:${id}:${path}`
}

const VERSION = 1
/** The length of a UUID. */
const ID_LENGTH = 36
/** The length of a subject's keyed hash, in bytes. */
export const SUBJECT_BYTES = 16
const PADDING_BYTES = 16
const MIN_BYTES = 1 + SUBJECT_BYTES + CIPHER_OVERHEAD_BYTES
