import { environment } from '../base/environment.ts'
import { HttpError } from './http-error.ts'

/** What makes a request that is sent again the same request. */
export interface RequestIdentity {
  /** For `execute`: a hash of principal, method, path and `Idempotency-Key`; `undefined` without that header. */
  readonly key: string | undefined
  /** A UUID for what the request creates: the same if it is sent again with its key; a random one without a key. */
  readonly id: string
}

/**
 * The identity of a request by its `Idempotency-Key`: within a principal, a method and a path, so that one client's key
 * says nothing to another's, nor to another route. It is hashed: a store keeps keys as long as events, so none should
 * hold the name of a person.
 *
 * @throws HttpError, 400, if the header is malformed.
 */
export async function identityOf(request: Request, principal: string | null): Promise<RequestIdentity> {
  const given = keyIn(request.headers)
  if (given === undefined) return { key: undefined, id: environment.uuid() }
  const { pathname } = new URL(request.url)
  const scope = [principal, request.method, pathname, given]
  const [key, id] = await Promise.all([digest('key', scope), digest('id', scope)])
  return { key: `http:${hex(key)}`, id: uuidOf(id) }
}

/** The client's key: a string as RFC 8941 writes it, or without the quotes, as many clients send it. */
function keyIn(headers: Headers): string | undefined {
  const value = headers.get('Idempotency-Key')?.trim()
  if (value === undefined) return undefined
  const quoted = /^"((?:[\x20\x21\x23-\x5B\x5D-\x7E]|\\["\\])*)"$/.exec(value)?.[1]?.replace(/\\(.)/g, '$1')
  const key = quoted ?? /^[\x21\x23-\x2B\x2D-\x7E]+$/.exec(value)?.[0]
  if (key !== undefined && key !== '' && key.length <= MAX_KEY_LENGTH) return key
  throw new HttpError(400, {
    code: 'INVALID_HEADER',
    detail: `Idempotency-Key is malformed; write one key of 1 to ${String(MAX_KEY_LENGTH)} characters in double quotes`,
  })
}

const MAX_KEY_LENGTH = 256

async function digest(purpose: string, scope: readonly unknown[]): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(JSON.stringify([purpose, ...scope]))
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}

/** A UUID of version 8, whose other bits are the given ones. */
function uuidOf(bytes: Uint8Array): string {
  const copy = bytes.slice(0, 16)
  copy[6] = (copy[6]! & 0x0f) | 0x80
  copy[8] = (copy[8]! & 0x3f) | 0x80
  return hex(copy).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
