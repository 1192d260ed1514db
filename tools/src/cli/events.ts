import type { Recorded } from 'mneme'

import { type Column, cut, printable, printableLines, type Terminal } from './terminal.ts'

/** The columns of a list of events. */
export const EVENT_COLUMNS: readonly Column<Recorded>[] = [
  { name: 'time', of: ({ time }) => time, minWidth: 70 },
  { name: 'stream', of: ({ stream }) => stream },
  { name: 'rev', of: ({ revision }) => String(revision), isRight: true },
  { name: 'type', of: ({ type }) => type },
  { name: 'data', of: ({ data }) => shortened(data) },
]

/** One event with all that is recorded of it. */
export function whole(event: Recorded, { paint, width }: Terminal): string {
  const { stream, revision, type, version, id, position, time, data, metadata } = event
  const rows = Object.entries({ id, position, time, data: shown(data), metadata: shown(metadata) })
  const head = `${printable(stream)} ${String(revision)}  ${printable(type)} v${String(version)}`
  return [
    paint.bold(cut(head, width)),
    ...rows.map(
      ([name, value]) => `  ${paint.dim(name.padEnd(8))}  ${value.replaceAll('\n', '\n            ')}`,
    ),
  ].join('\n')
}

function shown(value: unknown): string {
  return value === undefined ? '' : printableLines(JSON.stringify(value, undefined, 2))
}

/** JSON in a column: a large value is cut, since no terminal shows it. */
export function shortened(data: unknown): string {
  const text = data === undefined ? '' : JSON.stringify(data)
  return text.length > MAX_CELL ? `${text.slice(0, MAX_CELL)}…` : text
}

const MAX_CELL = 500
