import type { PostgresConnection, PostgresQuery } from './driver.ts'

/** A row as it came: each column as text, in the order selected. */
export type Row = readonly (string | null)[]

/** A parameter: text, or a value in PostgreSQL's binary format. */
export type Parameter = string | Buffer | null

/** A statement, and the name under which it may be prepared; none: it is sent anew each time. */
export interface Statement {
  readonly name: string
  readonly text: string
}

/** A statement, and what it is asked with. */
export interface Call {
  readonly statement: Statement
  readonly values: readonly Parameter[]
}

/**
 * One statement, or some, in one round trip and one packet, by the extended protocol: nothing is asked that is known
 * (the types of the columns), and nothing is parsed that nobody reads. That saves a fifth of the time of a short call.
 * Several are one transaction, in which each sees what was committed before it begins (where that is READ COMMITTED).
 *
 * The driver's own queries cannot be told so; this builds on what its cursors and streams build on.
 */
export class WireQuery implements PostgresQuery {
  /** Of several none: the driver would take it for parsed as soon as the first of them is. */
  readonly name: string
  readonly text: string
  callback: ((error: Error | null) => void) | undefined = undefined
  readonly #calls: readonly Call[]
  readonly #resolve: (rows: Row[][]) => void
  readonly #reject: (error: Error) => void
  readonly #rows: Row[][]
  #at = 0

  constructor(calls: readonly Call[], resolve: (rows: Row[][]) => void, reject: (error: Error) => void) {
    const [first, ...others] = calls
    this.name = first && others.length === 0 ? first.statement.name : ''
    this.text = first?.statement.text ?? ''
    this.#calls = calls
    this.#resolve = resolve
    this.#reject = reject
    this.#rows = calls.map(() => [])
  }

  submit({ parsedStatements, stream }: PostgresConnection): Error | null {
    // The driver keeps the names of what the server has parsed.
    const isParsed = ({ name }: Statement) => name !== '' && parsedStatements[name] !== undefined
    if (stream.writable) stream.write(packet(this.#calls, isParsed))
    return null
  }

  handleDataRow({ fields }: { readonly fields: (string | null)[] }): void {
    this.#rows[this.#at]?.push(fields)
  }

  handleReadyForQuery({ parsedStatements }: PostgresConnection): void {
    for (const { statement } of this.#calls) {
      if (statement.name !== '') parsedStatements[statement.name] = statement.text
    }
    // Ends the driver's own time-out, where one was configured.
    this.callback?.(null)
    this.#resolve(this.#rows)
  }

  handleError(error: Error): void {
    this.callback?.(error)
    this.#reject(error)
  }

  handleRowDescription(): void {
    // No statement asks for a description of its rows.
  }

  handlePortalSuspended(): void {
    // All rows are asked for.
  }

  handleCommandComplete(): void {
    // What counts is that the server is ready again: only then is it committed.
    this.#at++
  }

  handleEmptyQuery(): void {
    // There is none.
  }
}

/** For each call Parse, if need be, Bind and Execute of the unnamed portal: all rows, each column as text. Then Sync. */
function packet(calls: readonly Call[], isParsed: (statement: Statement) => boolean): Buffer {
  const sized = calls.map((call) => sizesOf(call, isParsed(call.statement)))
  let size = SYNC.length
  for (const { closeSize, parseSize, bindSize } of sized)
    size += closeSize + parseSize + bindSize + EXECUTE.length
  const buffer = Buffer.allocUnsafe(size)
  let at = 0
  const zeroEnded = (string: string) => {
    at += buffer.write(string, at)
    at = buffer.writeUInt8(0, at)
  }
  // A message's length counts itself, and not its type.
  const begin = (type: string, size: number) => {
    at += buffer.write(type, at)
    at = buffer.writeInt32BE(size - 1, at)
  }
  for (const { statement, values, sizes, closeSize, parseSize, bindSize, isParsed } of sized) {
    const { name, text } = statement
    if (!isParsed) {
      if (closeSize > 0) {
        // Another call may have parsed it, and then failed: closing one that is not there is no error.
        begin('C', closeSize)
        at += buffer.write('S', at)
        zeroEnded(name)
      }
      begin('P', parseSize)
      zeroEnded(name)
      zeroEnded(text)
      // The server finds out the parameters' types.
      at = buffer.writeInt16BE(0, at)
    }
    begin('B', bindSize)
    zeroEnded('')
    zeroEnded(name)
    at = buffer.writeInt16BE(values.length, at)
    for (const value of values) at = buffer.writeInt16BE(value instanceof Uint8Array ? 1 : 0, at)
    at = buffer.writeInt16BE(values.length, at)
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? null
      at = buffer.writeInt32BE(value === null ? -1 : sizes[i]!, at)
      if (typeof value === 'string') at += buffer.write(value, at)
      else if (value) at += value.copy(buffer, at)
    }
    at = buffer.writeInt16BE(0, at)
    at += EXECUTE.copy(buffer, at)
  }
  SYNC.copy(buffer, at)
  return buffer
}

/**
 * A call with the sizes of its messages, and of its parameters, in bytes. Not by spreading the call: V8 takes microseconds to
 * add fields to what is spread.
 */
function sizesOf({ statement, values }: Call, isParsed: boolean) {
  const { name, text } = statement
  const nameSize = Buffer.byteLength(name)
  const sizes = values.map((value) =>
    value === null ? 0 : typeof value === 'string' ? Buffer.byteLength(value) : value.length,
  )
  return {
    statement,
    values,
    isParsed,
    sizes,
    closeSize: isParsed || name === '' ? 0 : MESSAGE_HEADER_BYTES + 1 + nameSize + 1,
    parseSize: isParsed ? 0 : MESSAGE_HEADER_BYTES + nameSize + 1 + Buffer.byteLength(text) + 1 + 2,
    bindSize:
      MESSAGE_HEADER_BYTES +
      1 +
      nameSize +
      1 +
      2 +
      6 * values.length +
      2 +
      2 +
      sizes.reduce((sum, n) => sum + n, 0),
  }
}

/** Bytes of a message's type and length. */
const MESSAGE_HEADER_BYTES = 5
const EXECUTE = Buffer.from('E\0\0\0\x09\0\0\0\0\0', 'latin1')
const SYNC = Buffer.from('S\0\0\0\x04', 'latin1')

/**
 * Arrays in PostgreSQL's binary format: nothing to escape here, nothing to parse there.
 *
 * Each begins with the number of dimensions, a flag, the type of its elements, how many there are, and the first
 * index; each element follows its length.
 */

/** The OIDs of built-in types, which never change. */
const BOOL = 16
const INT8 = 20
const INT4 = 23
const TEXT = 25
const UUID = 2950

export function bools(values: readonly boolean[]): Buffer {
  const { buffer, write } = fixed(BOOL, values.length, 1)
  values.forEach((value, i) => buffer.writeUInt8(value ? 1 : 0, write(i)))
  return buffer
}

export function int4s(values: readonly number[]): Buffer {
  const { buffer, write } = fixed(INT4, values.length, 4)
  for (let i = 0; i < values.length; i++) buffer.writeInt32BE(values[i]!, write(i))
  return buffer
}

/** Whole numbers that JavaScript has exactly. */
export function int8s(values: readonly number[]): Buffer {
  const { buffer, write } = fixed(INT8, values.length, 8)
  for (let i = 0; i < values.length; i++) {
    const at = write(i)
    buffer.writeInt32BE(Math.floor(values[i]! / 2 ** 32), at)
    buffer.writeUInt32BE(values[i]! >>> 0, at + 4)
  }
  return buffer
}

/** Positions, which may be larger. */
export function positions(values: readonly string[]): Buffer {
  const { buffer, write } = fixed(INT8, values.length, 8)
  for (let i = 0; i < values.length; i++) buffer.writeBigInt64BE(BigInt(values[i]!), write(i))
  return buffer
}

export function uuids(values: readonly string[]): Buffer {
  const { buffer, write } = fixed(UUID, values.length, 16)
  for (let i = 0; i < values.length; i++) buffer.write(values[i]!.replaceAll('-', ''), write(i), 'hex')
  return buffer
}

export function texts(values: readonly string[]): Buffer {
  let size = 0
  for (const value of values) size += 4 + Buffer.byteLength(value)
  const buffer = header(TEXT, values.length, size)
  let at = ARRAY_HEADER_BYTES
  for (const value of values) {
    const length = buffer.write(value, at + 4)
    buffer.writeInt32BE(length, at)
    at += 4 + length
  }
  return buffer
}

/** An array of elements that are all `size` bytes long; `write(i)` writes the length of one and says where it goes. */
function fixed(type: number, count: number, size: number): { buffer: Buffer; write: (i: number) => number } {
  const buffer = header(type, count, count * (4 + size))
  return { buffer, write: (i) => buffer.writeInt32BE(size, ARRAY_HEADER_BYTES + i * (4 + size)) }
}

function header(type: number, count: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafe(ARRAY_HEADER_BYTES + size)
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(0, 4)
  buffer.writeInt32BE(type, 8)
  buffer.writeInt32BE(count, 12)
  buffer.writeInt32BE(1, 16)
  return buffer
}

const ARRAY_HEADER_BYTES = 20
