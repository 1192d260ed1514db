import {
  createStore,
  type EventStore,
  type Position,
  type Recorded,
  type Revision,
  UnsupportedError,
} from 'mneme'
import type { AppendRequest, AppendVerdict, ReadRequest, StoreAdapter, StoredEvent } from 'mneme/adapter'
import { keyRing, memoryKeys, wrappingKey } from 'mneme/erasure'
import { randomBytes } from 'node:crypto'

/** A store as it stood at a position, in which appends succeed and leave nothing. */
export interface Past {
  readonly store: EventStore
  /** What would have been appended, in its order. */
  readonly appended: readonly TriedEvent[]
}

/** An event that was not appended. */
interface TriedEvent {
  readonly stream: string
  readonly revision: number
  readonly type: string
  readonly version: number
  readonly data: unknown
}

/**
 * A store as of a position.
 *
 * @param through the last position that counts; `undefined`: there is no event.
 * @param signal ends the reading.
 */
export function pastOf(present: EventStore, through: Position | undefined, signal: AbortSignal): Past {
  const adapter = new PastAdapter(present, through, signal)
  // Personal values of tried events are sealed by keys that nobody has; those of recorded ones stay sealed.
  const personal = keyRing({
    keys: memoryKeys(),
    wrap: wrappingKey('trial', randomBytes(32)),
    secret: randomBytes(32),
  })
  return { store: createStore(adapter, { cachedStates: 0, personal }), appended: adapter.appended }
}

class PastAdapter implements StoreAdapter {
  readonly appended: TriedEvent[] = []
  readonly #present: EventStore
  readonly #through: Position | undefined
  readonly #signal: AbortSignal

  constructor(present: EventStore, through: Position | undefined, signal: AbortSignal) {
    this.#present = present
    this.#through = through
    this.#signal = signal
  }

  get capabilities() {
    // A trial is of one command: nothing else is asked of it.
    const none = { truncation: false, listsStreams: false, imports: false, snapshots: false, keys: false }
    return { ...this.#present.capabilities, ...none }
  }

  identity(): Promise<string> {
    return this.#present.identity()
  }

  /** The past does not change, so what was decided on it always holds. */
  async append({ conditions, events }: AppendRequest): Promise<AppendVerdict> {
    const heads = new Map<string, Revision>()
    const revisions: number[] = []
    for (const { stream } of conditions) heads.set(stream, await this.#head(stream))
    for (const { stream, type, version, data } of events) {
      const head = heads.get(stream) ?? 'none'
      const revision = head === 'none' ? 0 : head + 1
      heads.set(stream, revision)
      revisions.push(revision)
      this.appended.push({ stream, revision, type, version, data: JSON.parse(data) as unknown })
    }
    return {
      kind: 'appended',
      revisions,
      positions: events.map((_, i) => `${this.#through ?? ''}+${String(i).padStart(6, '0')}`),
      time: new Date().toISOString(),
      heads: conditions.map(({ stream }) => heads.get(stream)!),
    }
  }

  async *read({ stream, direction, from, to, limit }: ReadRequest): AsyncGenerator<StoredEvent[]> {
    let page: StoredEvent[] = []
    let left = limit ?? Infinity
    for await (const event of this.#present.read(stream, { direction, from, to, signal: this.#signal })) {
      if (this.#isLater(event)) {
        if (direction === 'forwards') break
        continue
      }
      page.push(storedOf(event))
      if (--left === 0) break
      if (page.length < EVENTS_PER_PAGE) continue
      yield page
      page = []
    }
    if (page.length > 0) yield page
  }

  async *readAll(): AsyncGenerator<StoredEvent[]> {
    yield await Promise.reject(notInTheTrial())
  }

  heads(streams: readonly string[]): Promise<readonly Revision[]> {
    return Promise.all(streams.map((stream) => this.#head(stream)))
  }

  logHead(): Promise<Position | undefined> {
    return Promise.resolve(this.#through)
  }

  idAt(): Promise<string | undefined> {
    return Promise.resolve(undefined)
  }

  subscribe(): never {
    throw notInTheTrial()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #isLater({ position }: Recorded): boolean {
    return this.#through === undefined || position > this.#through
  }

  /** The head that the stream had: found by halving, because positions rise with revisions. */
  async #head(stream: string): Promise<Revision> {
    const head = await this.#present.head(stream)
    if (head === 'none') return head
    let [known, above]: [number, number] = [-1, head + 1]
    // The head first: mostly the stream has not been appended to since.
    let middle = head
    while (above - known > 1) {
      const event = await this.#firstFrom(stream, middle)
      if (event && !this.#isLater(event)) known = event.revision
      else above = middle
      middle = Math.floor((known + above) / 2)
    }
    return known < 0 ? 'none' : known
  }

  async #firstFrom(stream: string, from: number): Promise<Recorded | undefined> {
    for await (const event of this.#present.read(stream, { from, limit: 1, signal: this.#signal }))
      return event
    return undefined
  }
}

const EVENTS_PER_PAGE = 256

function notInTheTrial(): UnsupportedError {
  return new UnsupportedError('a trial reads streams, and neither the log nor its end')
}

function storedOf({
  stream,
  id,
  type,
  version,
  data,
  metadata,
  revision,
  position,
  time,
}: Recorded): StoredEvent {
  return {
    ...{ stream, id, type, version, revision, position, time },
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  }
}
