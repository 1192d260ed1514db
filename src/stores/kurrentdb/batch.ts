import { environment } from '../../base/environment.ts'
import { placeEvents } from '../../adapter/append-rules.ts'
import type { Revision } from '../../base/revision.ts'
import type { Appended, AppendRequest, Condition } from '../../adapter/store-adapter.ts'
import type { StreamExpectation } from './connection.ts'
import { MARKER_TYPE, markerOf, markerStream } from './idempotency.ts'
import type { LaidRecord } from './log-layout.ts'
import { formatLogPosition } from './position.ts'
import { type AppendMark, toKurrent } from './rows.ts'
import type { LogPosition } from './driver.ts'

/** The appends of one call, as the server gets them. */
export class Batch {
  readonly requests: readonly AppendRequest[]
  /** The events of each append, its keys' markers before them. */
  readonly records: readonly LaidRecord[]
  /** The expected revision of each stream of which something is expected. */
  readonly expectations: readonly StreamExpectation[]
  readonly #time: string
  /** The index of each request's first event among the records. */
  readonly #firsts: readonly number[]

  constructor(requests: readonly AppendRequest[], mark: AppendMark) {
    this.requests = requests
    this.#time = mark.time
    const records: LaidRecord[] = []
    const expectations: StreamExpectation[] = []
    const firsts: number[] = []
    for (const request of requests) {
      for (const claim of request.keys.filter(({ count }) => count > 0)) {
        const stream = markerStream(claim.key)
        const data = JSON.stringify(markerOf(request, claim))
        const marker = {
          stream,
          id: environment.uuid(),
          type: MARKER_TYPE,
          version: 1,
          data,
          metadata: '{}',
        }
        records.push(laid(marker, mark))
        expectations.push({ stream, expected: 'none' })
      }
      firsts.push(records.length)
      for (const event of request.events) records.push(laid(event, mark))
      for (const condition of request.conditions)
        if (condition.expected !== 'any') expectations.push(condition)
    }
    this.records = records
    this.expectations = expectations
    this.#firsts = firsts
  }

  /** Bytes of the data of all records. */
  get bytes(): number {
    return this.records.reduce((bytes, { dataBytes }) => bytes + dataBytes, 0)
  }

  /** The ids of the records for each stream. */
  get idsByStream(): ReadonlyMap<string, readonly string[]> {
    const ids = new Map<string, string[]>()
    for (const { stream, event } of this.records) {
      const own = ids.get(stream)
      if (own) own.push(event.id)
      else ids.set(stream, [event.id])
    }
    return ids
  }

  /** The expectation of the only stream that the call names; `undefined` if it names several. */
  get onlyStream(): StreamExpectation | undefined {
    const [first] = this.records
    if (!first) return undefined
    const { stream } = first
    const isOnly =
      this.records.every((record) => record.stream === stream) &&
      this.expectations.every((expectation) => expectation.stream === stream)
    return isOnly ? (this.expectations[0] ?? { stream, expected: 'any' }) : undefined
  }

  /** Whether all ids were made for this call, so that none of its events can be stored already. */
  get isNew(): boolean {
    return this.requests.every(({ ids }) => ids === 'made')
  }

  /** Whether the server can always tell that the call was made before, so that it may be sent again. */
  get isRepeatable(): boolean {
    return this.expectations.some(
      ({ stream, expected }) =>
        expected !== 'exists' && this.records.some((record) => record.stream === stream),
    )
  }

  /** The verdict on each append once they are written. */
  verdicts({ heads, positions }: Placed): Appended[] {
    const now = new Map<string, Revision>(heads)
    for (const { stream } of this.records) now.set(stream, earlier(now.get(stream)!))
    return this.requests.map((request, i) => {
      const { conditions, events } = request
      const before = conditions.map(({ stream, expected }) => now.get(stream) ?? known(expected))
      const { revisions, heads: after } = placeEvents(request, before)
      conditions.forEach(({ stream }, j) => now.set(stream, after[j]!))
      const first = this.#firsts[i]!
      const own = positions.slice(first, first + events.length).map(formatLogPosition)
      return { kind: 'appended', revisions, positions: own, time: this.#time, heads: after }
    })
  }
}

function known(expected: Condition['expected']): Revision {
  return expected === 'any' || expected === 'exists' ? 'none' : expected
}

/** The head of a stream one event earlier. */
function earlier(revision: Revision): Revision {
  return revision === 'none' || revision === 0 ? 'none' : revision - 1
}

function laid(event: Parameters<typeof toKurrent>[0], mark: AppendMark): LaidRecord {
  return { stream: event.stream, event: toKurrent(event, mark), dataBytes: Buffer.byteLength(event.data) }
}

/** The call was written. */
export interface Placed {
  readonly kind: 'written'
  /** The head of each stream that was written. */
  readonly heads: ReadonlyMap<string, number>
  /** The position of each record. */
  readonly positions: readonly LogPosition[]
}
