import { checkExpected, checkOptions, streamName } from './arguments.ts'
import { checkAppend, encodeEvent, type EncodedEvent } from './encode.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { lacking } from '../model/names.ts'
import type { ExpectedRevision } from '../base/revision.ts'
import type { EventToAppend, StreamWrite } from './event-store.ts'
import type { AppendRequest, Capabilities, Condition } from '../adapter/store-adapter.ts'

/** An append, checked and encoded, with the events that it encodes. */
export interface EncodedAppend extends AppendRequest {
  readonly events: readonly EncodedEvent[]
}

/** Checks and encodes what `append` was given. `metadata` is JSON. */
export function encodeWrites(
  given: StreamWrite | readonly StreamWrite[],
  metadata: string,
  capabilities: Capabilities,
): EncodedAppend {
  const events: EncodedEvent[] = []
  const conditions: Condition[] = []
  if (Array.isArray(given)) {
    const writes = given as readonly StreamWrite[]
    const expectations = new Map<string, ExpectedRevision | undefined>()
    // By index, so that a hole is an error like whatever else is no write.
    for (let i = 0; i < writes.length; i++) {
      const argument = `writes[${String(i)}]`
      const stream = encodeWrite(writes[i]!, argument, events, metadata)
      const expected = oneExpectation(expectations.get(stream), writes[i]!.expected, argument)
      expectations.set(stream, expected)
    }
    for (const [stream, expected = 'any'] of expectations) conditions.push({ stream, expected })
  } else {
    const write = given as StreamWrite
    const stream = encodeWrite(write, 'write', events, metadata)
    conditions.push({ stream, expected: oneExpectation(undefined, write.expected, 'write') ?? 'any' })
  }
  checkRequest(conditions, events, capabilities)
  return { conditions, events, keys: [], ids: idsOf(events) }
}

/** Encodes a write's events; returns the name of its stream. */
function encodeWrite(write: StreamWrite, argument: string, events: EncodedEvent[], metadata: string): string {
  checkOptions(write, argument, ['stream', 'events', 'expected'])
  const stream = streamName(write.stream, `${argument}.stream`)
  const fold = typeof write.stream === 'string' ? undefined : write.stream.fold
  const given: unknown = write.events ?? []
  if (!Array.isArray(given)) throw new InvalidArgumentError(`${argument}.events`, 'an array of events')
  for (let index = 0; index < given.length; index++) {
    events.push(encodeEvent(given[index] as EventToAppend, { stream, fold, argument, index }, metadata))
  }
  return stream
}

/** Whose the ids of an append's events are. */
export function idsOf(events: readonly EncodedEvent[]): AppendRequest['ids'] {
  return events.every(({ isIdMade }) => isIdMade) ? 'made' : 'given'
}

/** What holds for every append, of `append` or of a command. */
export function checkRequest(
  conditions: readonly Condition[],
  events: readonly EncodedEvent[],
  capabilities: Capabilities,
): void {
  checkEvents(events, conditions.length)
  if (conditions.length > 1) {
    if (!capabilities.severalStreams)
      throw lacking('this store appends to one stream at a time', capabilities)
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
  known: ExpectedRevision | undefined,
  expected: ExpectedRevision | undefined,
  argument: string,
): ExpectedRevision | undefined {
  if (expected === undefined) return known
  checkExpected(expected, `${argument}.expected`)
  if (known !== undefined && known !== expected) {
    throw new InvalidArgumentError(`${argument}.expected`, 'said once for each stream')
  }
  return expected
}
