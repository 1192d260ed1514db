import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { checkFunction } from '../base/functions.ts'
import type { Position } from '../base/revision.ts'
import { ERASURES_STREAM } from '../model/erasures.ts'
import { checkPosition } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { CopySource } from './copy-source.ts'
import { differenceOf, type ExportedKey, type Imported } from './recorded.ts'
import { applyTransform, checkTransform, type CopyTransform, originOf } from './transform.ts'

/** Options of `compareHistories`. */
export interface CompareOptions {
  /** The transform with which the copy was made. */
  readonly transform?: CopyTransform | undefined
  /** Compare up to this position of the first store. Default: all. */
  readonly to?: Position | undefined
  /** Stop after so many differences. Default: 100. */
  readonly maxDifferences?: number | undefined
  /** Called after each page with the number of events that were compared. */
  readonly onProgress?: ((events: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** What `compareHistories` resolves with. */
export interface HistoryComparison {
  /** Whether both have the same events in the same order, with the same keys. */
  readonly isSame: boolean
  /** How many events were compared. */
  readonly events: number
  /** How many idempotency keys were compared. */
  readonly keys: number
  /** In the order of the log. */
  readonly differences: readonly HistoryDifference[]
  /** Whether it stopped at `maxDifferences`. */
  readonly isPartial: boolean
}

/** A place at which two histories differ. */
export interface HistoryDifference {
  /**
   * `'missing'`: the second store lacks the event; `'extra'`: only it has the event; `'different'`: see `what`; `'order'`: the
   * event stands at another place in the log; `'key'`: an idempotency key is missing, or covers other events.
   */
  readonly kind: 'missing' | 'extra' | 'different' | 'order' | 'key'
  readonly stream: string
  readonly revision: number
  /** What of the event is different, or the key. */
  readonly what?: 'id' | 'type' | 'version' | 'time' | 'metadata' | 'data' | (string & {}) | undefined
}

/**
 * Compares the histories of two stores, event by event in the order of the log: ids, types, versions, times, metadata, data and
 * idempotency keys. Data is the same if it is the same JSON. Reads only, with little memory, however long the history is.
 *
 * What was erased in one of the stores and is still shown by the log of the other, as KurrentDB does, is left out.
 *
 * @throws InvalidArgumentError, and the errors of `readAll`; the signal's reason.
 * @example
 * ```ts
 * import { openStore } from 'mneme'
 * import { compareHistories } from 'mneme/history'
 *
 * const [from, to] = [await openStore('sqlite:bank.db'), await openStore('postgres://localhost/bank')]
 * const { differences } = await compareHistories(from, to)
 * for (const { kind, stream, revision, what } of differences) console.log(kind, stream, revision, what)
 * ```
 */
export async function compareHistories(
  first: EventStore,
  second: EventStore,
  options: CompareOptions = {},
): Promise<HistoryComparison> {
  const [a, b] = [coreOf(first), coreOf(second)]
  checkOptions(options, 'options', ['transform', 'to', 'maxDifferences', 'onProgress', 'signal'])
  const { maxDifferences = 100, onProgress = () => undefined } = options
  checkWhole(maxDifferences, 'maxDifferences', 1)
  checkFunction(onProgress, 'onProgress')
  const signal = checkSignal(options.signal)
  const transform = checkTransform(options.transform)
  const heads = [checkPosition(options.to, 'to') ?? (await a.logHead()), await b.logHead()] as const
  const comparison = new Comparison(
    new CopySource(a),
    new CopySource(b),
    transform !== undefined,
    maxDifferences,
  )
  const left = new Side(comparison.first, heads[0], transform, transform !== undefined)
  const right = new Side(comparison.second, heads[1], undefined, transform !== undefined)
  try {
    for (;;) {
      signal?.throwIfAborted()
      if (!(await left.fill())) break
      if (!(await right.fill())) break
      if (!(await comparison.compare(left, right))) return comparison.report(true)
      onProgress(comparison.events)
    }
    // What only one of the two still has. If the first one was read up to a position, the second one may have gone on.
    const isBounded = options.to !== undefined && options.to !== (await a.logHead())
    while (await left.fill()) if (!(await comparison.rest(left, 'missing'))) return comparison.report(true)
    while (!isBounded && (await right.fill()))
      if (!(await comparison.rest(right, 'extra'))) return comparison.report(true)
    return comparison.report(false)
  } finally {
    await Promise.all([left.end(), right.end()])
  }
}

/** What is compared of an event. */
type Compared = Omit<Imported, 'revision'> & { readonly revision: number }

/** One of the two logs. */
class Side {
  readonly #pages: AsyncGenerator<Imported[], undefined> | undefined
  readonly #transform: CopyTransform | undefined
  readonly #isOfTransform: boolean
  page: readonly Compared[] = []
  next = 0
  readonly keys = new OpenKeys()

  constructor(
    source: CopySource,
    head: Position | undefined,
    transform: CopyTransform | undefined,
    isOfTransform: boolean,
  ) {
    this.#isOfTransform = isOfTransform
    this.#pages = head === undefined ? undefined : source.pages(undefined, head)
    this.#transform = transform
  }

  get event(): Compared | undefined {
    return this.page[this.next]
  }

  /** Whether there is a next event. */
  async fill(): Promise<boolean> {
    while (this.next >= this.page.length) {
      const result = await this.#pages?.next()
      if (!result || result.done === true) return false
      const transform = this.#transform
      this.page = transform
        ? result.value.filter(isNoNotice).flatMap((event) =>
            applyTransform(transform, event).events.map((made) => ({
              ...made,
              revision: event.revision,
              keys: NONE,
            })),
          )
        : this.#isOfTransform
          ? result.value.filter(isNoNotice)
          : result.value
      this.next = 0
    }
    return true
  }

  async end(): Promise<void> {
    await this.#pages?.return(undefined)
  }
}

/** The keys of a log whose last event is still to come. */
class OpenKeys {
  #open: { readonly key: ExportedKey; events: number }[] = []

  /** The keys that end with an event: each with its fingerprint, and how many events it covers. */
  endingWith({ keys, position }: Compared): string[] {
    if (keys.length === 0 && this.#open.length === 0) return NOTHING
    for (const key of keys) this.#open.push({ key, events: 0 })
    const ended: string[] = []
    this.#open = this.#open.filter((open) => {
      const { key, fingerprint, through } = open.key
      // The last events of an append may have been erased.
      if (through >= position!) open.events++
      if (through > position!) return true
      ended.push(JSON.stringify([key, fingerprint, open.events]))
      return false
    })
    return ended
  }
}

class Comparison {
  readonly first: CopySource
  readonly second: CopySource
  readonly #isTransformed: boolean
  readonly #max: number
  readonly #differences: HistoryDifference[] = []
  readonly #begins = [new Map<string, number>(), new Map<string, number>()] as const
  events = 0
  keys = 0
  /** Keys of one log that the other did not have at the same event. */
  readonly #unmatched = new Map<
    string,
    { readonly side: number; readonly stream: string; readonly revision: number }
  >()

  constructor(first: CopySource, second: CopySource, isTransformed: boolean, max: number) {
    this.first = first
    this.second = second
    this.#isTransformed = isTransformed
    this.#max = max
  }

  report(isPartial: boolean): HistoryComparison {
    for (const [kept, { stream, revision }] of this.#unmatched) {
      const [key] = JSON.parse(kept) as [string]
      this.#note('key', { stream, revision }, key)
    }
    const { events, keys } = this
    const differences = this.#differences.slice(0, this.#max)
    return { isSame: differences.length === 0, events, keys, differences, isPartial }
  }

  /** Compares two pages as far as both go. @returns whether to go on */
  async compare(left: Side, right: Side): Promise<boolean> {
    for (let [a, b] = [left.event, right.event]; a && b; [a, b] = [left.event, right.event]) {
      if (this.#isOfOnePlace(a, b)) {
        const what = this.#differenceOf(b, a)
        if (what !== undefined) this.#note('different', b, what)
        this.#countKeys(left, right)
        this.events++
        left.next++
        right.next++
      } else await this.#resolve(left, right, a, b)
      if (this.#differences.length >= this.#max) return false
    }
    return true
  }

  /** Notes the rest of a page that only one of the two has. @returns whether to go on */
  async rest(side: Side, kind: 'missing' | 'extra'): Promise<boolean> {
    for (let event = side.event; event; event = side.event) {
      if (
        !(await this.#isErasedIn(kind === 'missing' ? 1 : 0, event)) &&
        !(await this.#isErasedIn(kind === 'missing' ? 0 : 1, event))
      )
        this.#note(kind, event)
      side.next++
      if (this.#differences.length >= this.#max) return false
    }
    return true
  }

  /** The logs go on with different events. */
  async #resolve(left: Side, right: Side, a: Compared, b: Compared): Promise<void> {
    if ((await this.#isErasedIn(1, a)) || (await this.#isErasedIn(0, a))) {
      left.next++
      return
    }
    if ((await this.#isErasedIn(0, b)) || (await this.#isErasedIn(1, b))) {
      right.next++
      return
    }
    if (this.#isTransformed) {
      // An event of the first store has no known revision in the second one: by their origins, one of the two is behind.
      const isBehind = a.metadata === b.metadata || originOf(b.metadata) === undefined
      this.#note(isBehind ? 'different' : 'missing', isBehind ? b : a, isBehind ? 'id' : undefined)
      left.next++
      if (isBehind) right.next++
      return
    }
    const [there, here] = await Promise.all([
      this.second.eventAt(a.stream, a.revision),
      this.first.eventAt(b.stream, b.revision),
    ])
    if (!there) {
      this.#note('missing', a)
      left.next++
    } else if (!here) {
      this.#note('extra', b)
      right.next++
    } else {
      this.#note('order', b)
      left.next++
      right.next++
    }
  }

  /** Whether an event is erased in one of the stores, though its log may still show it. */
  async #isErasedIn(index: 0 | 1, { stream, revision }: Compared): Promise<boolean> {
    if (this.#isTransformed) return false
    const begins = this.#begins[index]
    let begin = begins.get(stream)
    if (begin === undefined) {
      begin = await (index === 0 ? this.first : this.second).firstRevision(stream)
      // Of a stream that is not there, nothing was erased.
      if (begins.size > MAX_STREAMS) begins.clear()
      begins.set(stream, begin)
    }
    return begin > revision
  }

  #isOfOnePlace(a: Compared, b: Compared): boolean {
    if (a.stream !== b.stream) return false
    return this.#isTransformed ? a.id === b.id : a.revision === b.revision
  }

  #differenceOf(stored: Compared, wanted: Compared): string | undefined {
    return differenceOf({ ...stored, position: stored.position! }, wanted)
  }

  #countKeys(left: Side, right: Side): void {
    const [a, b] = [left.event!, right.event!]
    if (this.#isTransformed) return
    const [ours, theirs] = [left.keys.endingWith(a), right.keys.endingWith(b)]
    if (ours.length === 0 && theirs.length === 0) return
    const place = { stream: b.stream, revision: b.revision }
    for (const [side, kept] of [
      ...ours.map((key) => [0, key] as const),
      ...theirs.map((key) => [1, key] as const),
    ]) {
      const other = this.#unmatched.get(kept)
      if (other && other.side !== side) {
        this.#unmatched.delete(kept)
        this.keys++
      } else this.#unmatched.set(kept, { side, ...place })
    }
  }

  #note(
    kind: HistoryDifference['kind'],
    { stream, revision }: { readonly stream: string; readonly revision: number },
    what?: string,
  ): void {
    this.#differences.push({ kind, stream, revision, what })
  }
}

/** A truncation names another revision after a transform. */
function isNoNotice({ stream }: Compared): boolean {
  return stream !== ERASURES_STREAM
}

const NONE: readonly ExportedKey[] = []
const NOTHING: string[] = []
const MAX_STREAMS = 10_000
