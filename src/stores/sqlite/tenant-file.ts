import { join } from 'node:path'
import { InvalidArgumentError } from '../../base/errors.ts'
import { checkText } from '../../model/names.ts'

/**
 * The file of a tenant in a folder, for `sqliteStore` and `sqliteTarget`: for every name a file of its own, directly in
 * that folder, on every file system. Small letters, digits, `-` and `_` stay; all else is written as `~` and the byte in
 * hexadecimal, so that `../acme` leads nowhere, and `Acme` and `acme` differ where capitals do not count.
 *
 * @throws InvalidArgumentError if the folder or the name is wrong, or too long for the name of a file.
 * @example
 * ```ts
 * console.log(tenantFile('data', 'acme'), tenantFile('data', 'Acme/1')) // data/acme.db data/~41cme~2f1.db
 * ```
 */
export function tenantFile(folder: string, tenant: string): string {
  if (typeof (folder as unknown) !== 'string' || folder === '') {
    throw new InvalidArgumentError('folder', 'the path of a folder')
  }
  checkText(tenant, 'tenant', 'the name of a tenant')
  const name = RESERVED.test(tenant) ? escape(tenant.slice(0, 1)) + encode(tenant.slice(1)) : encode(tenant)
  if (name.length > MAX_NAME_BYTES) {
    throw new InvalidArgumentError('tenant', {
      message: `tenant: its file would have a name of ${String(name.length)} bytes, of at most ${String(MAX_NAME_BYTES)}; choose a shorter one`,
    })
  }
  return join(folder, `${name}.db`)
}

function encode(tenant: string): string {
  return tenant.replace(/[^a-z0-9_-]+/g, escape)
}

function escape(text: string): string {
  return [...Buffer.from(text)].map((byte) => `~${byte.toString(16).padStart(2, '0')}`).join('')
}

/** File systems take 255, and the file has companions with longer names, like `-signal`. */
const MAX_NAME_BYTES = 240

/** Names of devices on Windows, with any extension. */
const RESERVED = /^(?:con|prn|aux|nul|com\d|lpt\d)$/
