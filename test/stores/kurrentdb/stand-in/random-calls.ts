import fc from 'fast-check'

import { streamsV2 } from './generated.ts'
import { isPlainEvent, type Outcome } from './raw-outcome.ts'
import type { Expectation, RawClient, RawRead } from './raw-client.ts'

const { SCHEMA_FORMAT_BYTES, SCHEMA_FORMAT_JSON } = streamsV2.SchemaFormat

/** A call that two servers get alike, with names and ids that begin as the run says. */
export interface Call {
  readonly text: string
  send(client: RawClient, prefix: string): Promise<Outcome>
}

const names = fc.constantFrom('a', 'b', 'c')
const revisions = fc.bigInt({ min: 0n, max: 6n })
const number = fc.nat({ max: 9 })
const expectations = fc.oneof(fc.constantFrom<Expectation>('any', 'no-stream', 'exists'), revisions)
const states = fc.oneof(fc.constantFrom(-1n, -4n, -5n, -6n), revisions)
/** Now and then a row, so that repeats happen. */
const rows = fc.oneof(
  fc.array(number, { maxLength: 3 }),
  fc
    .tuple(number, fc.integer({ min: 1, max: 3 }))
    .map(([first, count]) => Array.from({ length: count }, (_, i) => first + i)),
)
const metadata = fc.constantFrom(
  '{}',
  '{"$maxCount":2}',
  '{"$tb":2}',
  '{"$tb":1,"x":[1, 2]}',
  '{"$maxCount":1,"$tb":1}',
  '{"$tb":9223372036854775807}',
  '{"$tb":9223372036854775808}',
  '{"$tb":-1}',
  '{"$tb":1.5}',
  '{"$maxCount":0}',
  '{"$maxCount":"2"}',
  '[]',
  'nothing',
)

/** Of an event, the same in each server. */
function idOf(prefix: string, n: number): string {
  return `${prefix
    .replaceAll(/[^0-9a-f]/g, '')
    .slice(-8)
    .padStart(8, '0')}-0000-4000-8000-00000000000${n.toString(16)}`
}

function eventOf(prefix: string, n: number) {
  return {
    id: idOf(prefix, n),
    data: `{"n":${n}}`,
    contentType: n % 3 === 0 ? 'application/octet-stream' : 'application/json',
    ...(n % 2 === 1 && { metadata: '{"m":1}' }),
  }
}

function recordOf(prefix: string, stream: string, n: number) {
  return {
    stream: stream === '' ? '' : prefix + stream,
    id: idOf(prefix, n),
    data: `{"n":${n}}`,
    format: n % 3 === 0 ? SCHEMA_FORMAT_BYTES : SCHEMA_FORMAT_JSON,
    properties: n % 2 === 1 ? { p: 'q<' } : {},
  }
}

const appends = fc
  .tuple(fc.constantFrom('append' as const, 'batchAppend' as const), names, expectations, rows)
  .map(([how, name, expected, row]): Call => ({
    text: `${how} ${name} ${String(expected)} [${row.join()}]`,
    send: (client, prefix) =>
      client[how](
        prefix + name,
        expected,
        row.map((n) => eventOf(prefix, n)),
      ),
  }))

const recordAppends = fc
  .tuple(
    fc.array(fc.tuple(names, number), { minLength: 1, maxLength: 4 }),
    fc.dictionary(names, states, { maxKeys: 2 }),
  )
  .map(([records, checks]): Call => ({
    text: `appendRecords [${records.map((record) => record.join('')).join()}] ${Object.entries(checks).join()}`,
    send: (client, prefix) =>
      client.appendRecords(
        records.map(([name, n]) => recordOf(prefix, name, n)),
        Object.fromEntries(Object.entries(checks).map(([name, state]) => [prefix + name, state])),
      ),
  }))

const sessions = fc
  .uniqueArray(
    fc.tuple(
      names,
      fc.option(fc.oneof(fc.constantFrom(-1n, -2n, -4n), revisions)),
      fc.array(number, { minLength: 1, maxLength: 2 }),
    ),
    {
      selector: ([name]) => name,
      maxLength: 2,
    },
  )
  .map((requests): Call => ({
    text: `appendSession ${requests.map((request) => request.join(' ')).join('; ')}`,
    send: (client, prefix) =>
      client.appendSession(
        requests.map(([name, expected, row]) => ({
          stream: prefix + name,
          ...(expected !== null && { expected }),
          records: row.map((n) => recordOf(prefix, '', n)),
        })),
      ),
  }))

const removals = fc
  .tuple(fc.constantFrom('delete' as const, 'delete' as const, 'tombstone' as const), names, expectations)
  .map(([how, name, expected]): Call => ({
    text: `${how} ${name} ${String(expected)}`,
    send: (client, prefix) => client[how](prefix + name, expected),
  }))

const settings = fc
  .tuple(names, fc.constantFrom<Expectation>('any', 'no-stream', 'exists', 0n, 1n), metadata)
  .map(([name, expected, json]): Call => ({
    text: `setMetadata ${name} ${String(expected)} ${json}`,
    send: (client, prefix) => client.setMetadata(prefix + name, json, expected),
  }))

const links = fc
  .tuple(names, fc.oneof(fc.tuple(fc.integer({ min: -2, max: 4 }), names), fc.constantFrom('x', '1', '1@')))
  .map(([name, to]): Call => ({
    text: `link ${name} ${String(to)}`,
    send: (client, prefix) => {
      const data = typeof to === 'string' ? to : `${to[0]}@${prefix}${to[1]}`
      return client.append(prefix + name, 'any', [
        { type: '$>', data, contentType: 'application/octet-stream' },
      ])
    },
  }))

const reads = fc
  .tuple(
    fc.constantFrom('', '', '$$'),
    names,
    fc.record<RawRead>({
      from: fc.oneof(fc.constantFrom('start' as const, 'end' as const), fc.bigInt({ min: 0n, max: 8n })),
      isBackwards: fc.boolean(),
      count: fc.integer({ min: 1, max: 6 }),
      resolvesLinks: fc.boolean(),
    }),
  )
  .map(([before, name, read]): Call => ({
    text: `read ${before}${name} ${String(read.from)} ${String(read.isBackwards)} ${String(read.count)}`,
    send: (client, prefix) => client.read(`${before}${prefix}${name}`, read),
  }))

/** Calls in a row, on few streams, with few ids: so that they meet. */
export const randomCalls: fc.Arbitrary<readonly Call[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: appends },
    { weight: 4, arbitrary: recordAppends },
    { weight: 2, arbitrary: sessions },
    { weight: 2, arbitrary: removals },
    { weight: 2, arbitrary: settings },
    { weight: 1, arbitrary: links },
    { weight: 4, arbitrary: reads },
  ),
  { minLength: 3, maxLength: 25 },
)

const positions = new Set(['position', 'prepare', 'commit', 'commitPosition', 'preparePosition'])

/** An outcome as any server has it: positions counted from one of its own, and without ids that the server makes. */
export function comparable(outcome: unknown, base: bigint, key = ''): unknown {
  if (Array.isArray(outcome)) return outcome.map((item) => comparable(item, base))
  if (typeof outcome === 'object' && outcome !== null) {
    const entries = Object.entries(outcome).filter(([name]) => !name.endsWith('2060'))
    const plain = Object.fromEntries(entries.map(([name, value]) => [name, comparable(value, base, name)]))
    const isMade = isPlainEvent(outcome) && ['$metadata', '$streamDeleted', '$>'].includes(outcome.type)
    return isMade ? { ...plain, id: 'made' } : plain
  }
  const isPosition = positions.has(key) && typeof outcome === 'string' && /^[1-9]\d{0,14}$/.test(outcome)
  return isPosition ? `+${String(BigInt(outcome) - base)}` : outcome
}
