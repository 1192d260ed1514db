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
  let at = HEADER
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
  return { buffer, write: (i) => buffer.writeInt32BE(size, HEADER + i * (4 + size)) }
}

function header(type: number, count: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER + size)
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(0, 4)
  buffer.writeInt32BE(type, 8)
  buffer.writeInt32BE(count, 12)
  buffer.writeInt32BE(1, 16)
  return buffer
}

const HEADER = 20
