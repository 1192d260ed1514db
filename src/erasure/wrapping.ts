import { decrypt, encrypt, KEY_BYTES } from '../base/cipher.ts'
import { InvalidArgumentError, SealBrokenError } from '../base/errors.ts'
import { checkText } from '../model/names.ts'

/**
 * Encrypts the keys of subjects before they are kept: by a key of yours ({@link wrappingKey}), or by a service that never hands
 * out its key. An error that it throws counts as a passing failure.
 */
export interface WrappingKey {
  /** Kept with every key that it wraps. */
  readonly id: string
  /** Encrypts a key. The context should be authenticated with it. */
  wrap(key: Uint8Array, context: WrapContext): Uint8Array | Promise<Uint8Array>
  /** Decrypts a key. */
  unwrap(wrapped: Uint8Array, context: WrapContext): Uint8Array | Promise<Uint8Array>
}

/** Whose key it is: some services call it the encryption context. */
export interface WrapContext {
  /** The keyed hash of the subject. */
  readonly subject: string
}

/**
 * A wrapping key in the memory of this program, for AES-256-GCM.
 *
 * @param id under which keys wrapped by it are known: give a new key a new id.
 * @param key 32 random bytes, kept where neither the events nor the keys of subjects are.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const wrap = wrappingKey('2026-11', Buffer.from(process.env['WRAPPING_KEY'] ?? '', 'base64'))
 * ```
 */
export function wrappingKey(id: string, key: Uint8Array): WrappingKey {
  checkText(id, 'id', 'the id of a wrapping key')
  if (!((key as unknown) instanceof Uint8Array) || key.length !== KEY_BYTES) {
    throw new InvalidArgumentError('key', `${String(KEY_BYTES)} random bytes`)
  }
  const own = Uint8Array.from(key)
  const contextOf = ({ subject }: WrapContext) => `mneme:key:${id}:${subject}`
  return Object.freeze({
    id,
    wrap: (plain: Uint8Array, context: WrapContext) => encrypt(own, plain, contextOf(context)),
    unwrap: (wrapped: Uint8Array, context: WrapContext) => {
      const plain = decrypt(own, wrapped, contextOf(context))
      if (plain) return plain
      throw new SealBrokenError(
        `the key of subject ${context.subject} does not open with the wrapping key '${id}': it was wrapped by other bytes under that id, or was changed`,
      )
    },
  })
}
