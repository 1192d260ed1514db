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
    // Nobody asked.
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
  const sized = calls.map((call) => ({ ...call, ...sizesOf(call), isParsed: isParsed(call.statement) }))
  let size = SYNC.length
  for (const { closeSize, parseSize, bindSize, isParsed } of sized) {
    size += (isParsed ? 0 : closeSize + parseSize) + bindSize + EXECUTE.length
  }
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

/** Of the messages of a call, and of its parameters, in bytes. */
function sizesOf({ statement: { name, text }, values }: Call) {
  const nameSize = Buffer.byteLength(name)
  const sizes = values.map((value) =>
    value === null ? 0 : typeof value === 'string' ? Buffer.byteLength(value) : value.length,
  )
  return {
    sizes,
    closeSize: name === '' ? 0 : HEADER + 1 + nameSize + 1,
    parseSize: HEADER + nameSize + 1 + Buffer.byteLength(text) + 1 + 2,
    bindSize:
      HEADER + 1 + nameSize + 1 + 2 + 6 * values.length + 2 + 2 + sizes.reduce((sum, n) => sum + n, 0),
  }
}

/** Bytes of a message's type and length. */
const HEADER = 5
const EXECUTE = Buffer.from('E\0\0\0\x09\0\0\0\0\0', 'latin1')
const SYNC = Buffer.from('S\0\0\0\x04', 'latin1')
