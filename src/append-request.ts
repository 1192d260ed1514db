import { checkExpected, checkList, checkOptions, streamName } from './checks.ts'
import { checkAppend, encodeEvent, type EncodedEvent } from './encode.ts'
import { InvalidArgumentError, UnsupportedError } from './errors.ts'
import type { Metadata } from './metadata.ts'
import type { ExpectedRevision } from './revision.ts'
import type { StreamWrite } from './store.ts'
import type { AppendRequest, Capabilities, Condition } from './store-adapter.ts'

/** An append, checked and encoded, with the events that it encodes. */
export interface EncodedAppend extends AppendRequest {
  readonly events: readonly EncodedEvent[]
}

/** Checks and encodes what `append` was given. */
export function encodeWrites(
  given: StreamWrite | readonly StreamWrite[],
  metadata: Metadata,
  capabilities: Capabilities,
): EncodedAppend {
  const several = Array.isArray(given)
  const writes = (several ? given : [given]) as readonly StreamWrite[]
  const text = JSON.stringify(metadata)
  const expectations = new Map<string, ExpectedRevision | undefined>()
  const events: EncodedEvent[] = []
  checkList(writes, 'writes', (write, place) => {
    const argument = several ? place : 'write'
    checkOptions(write, argument, ['stream', 'events', 'expected'])
    const stream = streamName(write.stream, `${argument}.stream`)
    expectations.set(stream, oneExpectation(expectations, write, stream, argument))
    const fold = typeof write.stream === 'string' ? undefined : write.stream.fold
    checkList(write.events, `${argument}.events`, (event, place) =>
      events.push(encodeEvent(event, { stream, fold, argument: place }, text)),
    )
  })
  const conditions = [...expectations].map(([stream, expected = 'any']): Condition => ({ stream, expected }))
  checkRequest(conditions, events, capabilities)
  return { conditions, events, keys: [] }
}

/** What holds for every append, of `append` or of a command. */
export function checkRequest(
  conditions: readonly Condition[],
  events: readonly EncodedEvent[],
  capabilities: Capabilities,
): void {
  checkEvents(events, conditions.length)
  if (conditions.length > 1) {
    if (!capabilities.severalStreams) throw new UnsupportedError('this store appends to one stream at a time')
    checkCase(conditions)
  }
}

/** What holds for the events of every append. */
export function checkEvents(events: readonly EncodedEvent[], streams: number): void {
  checkAppend(events, streams)
  if (events.length > 1 && new Set(events.map(({ id }) => id)).size < events.length) {
    throw new InvalidArgumentError('id', 'different for each event of an append')
  }
}

/** KurrentDB takes names that differ only in case for one stream within an append: refused everywhere. */
function checkCase(conditions: readonly Condition[]): void {
  const seen = new Map<string, string>()
  for (const { stream } of conditions) {
    for (const folded of new Set([stream.toLowerCase(), stream.toUpperCase()])) {
      const other = seen.get(folded)
      if (other !== undefined && other !== stream) {
        const names = `${JSON.stringify(other)} and ${JSON.stringify(stream)}`
        throw new InvalidArgumentError('streams', `different in more than case within one append: ${names}`)
      }
      seen.set(folded, stream)
    }
  }
}

function oneExpectation(
  expectations: ReadonlyMap<string, ExpectedRevision | undefined>,
  { expected }: StreamWrite,
  stream: string,
  argument: string,
): ExpectedRevision | undefined {
  const known = expectations.get(stream)
  if (expected === undefined) return known
  checkExpected(expected, `${argument}.expected`)
  if (known !== undefined && known !== expected) {
    throw new InvalidArgumentError(`${argument}.expected`, 'said once for each stream')
  }
  return expected
}
