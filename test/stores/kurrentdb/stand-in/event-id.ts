import type { UUID } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js'

/** An id as the server writes it; `undefined` for what is none. */
export function parseId(text: string): string | undefined {
  const hex = /^\s*[{(]?([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[})]?\s*$/i.exec(text)?.[1]
  const digits = hex?.replaceAll('-', '').toLowerCase()
  return digits?.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** Whether it is an id, and not that of nothing. */
export function isUsableId(text: string): boolean {
  const id = parseId(text)
  return id !== undefined && id !== emptyId
}

export const emptyId = '00000000-0000-0000-0000-000000000000'

/** Of the two ways in which v1 sends one. */
export function idOf(uuid: UUID | undefined): string | undefined {
  const halves = uuid?.getStructured()
  if (!halves) return parseId(uuid?.getString() ?? '')
  const hex = (bits: string) => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0')
  return parseId(hex(halves.getMostSignificantBits()) + hex(halves.getLeastSignificantBits()))
}

export function structuredId(uuid: UUID.Structured, id: string): UUID.Structured {
  const digits = id.replaceAll('-', '')
  const bits = (hex: string) => String(BigInt.asIntN(64, BigInt(`0x${hex}`)))
  return uuid
    .setMostSignificantBits(bits(digits.slice(0, 16)))
    .setLeastSignificantBits(bits(digits.slice(16)))
}
