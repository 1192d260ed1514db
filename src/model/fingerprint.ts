import { InvalidArgumentError } from '../base/errors.ts'
import { sha256 } from '../base/hash.ts'
import { isPlain } from './json.ts'
import { isStream } from './stream.ts'

/**
 * A hash (SHA-256) that is equal for equal values, whatever the order of their keys. A store keeps it with an idempotency
 * key, so that the same key with another input is an error; the input itself is not kept.
 */
export function fingerprint(value: unknown): string {
  return sha256(canonical(value, []), 'base64url')
}

function canonical(value: unknown, parents: readonly object[]): string {
  if (typeof value !== 'object' || value === null) {
    if (typeof value === 'function' || typeof value === 'symbol') return ''
    return `${typeof value}:${JSON.stringify(String(value))}`
  }
  if (parents.includes(value)) return 'cycle'
  const within = [...parents, value]
  if (isStream(value)) return `stream${JSON.stringify(value.stream)}`
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, within)).join()}]`
  if (value instanceof Map) return `map${unordered([...value], within)}`
  if (value instanceof Set) return `set${unordered([...value], within)}`
  if (!isPlain(value) && 'toJSON' in value && typeof value.toJSON === 'function') {
    return `json${canonical((value.toJSON as () => unknown)(), within)}`
  }
  const isOpaque = !isPlain(value) && Object.keys(value).length === 0
  if (isOpaque) {
    throw new InvalidArgumentError('input', {
      message:
        'the idempotency key cannot be compared: the input holds an object that has neither fields nor toJSON(); ' +
        'give the command an `input` of plain data, or `keyedBy`',
    })
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && typeof item !== 'function')
  const members = entries.map(([key, item]) => `${JSON.stringify(key)}${canonical(item, within)}`)
  return `{${members.sort().join()}}`
}

function unordered(items: readonly unknown[], parents: readonly object[]): string {
  return `[${items
    .map((item) => canonical(item, parents))
    .sort()
    .join()}]`
}
