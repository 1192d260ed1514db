import { checkList, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { historyRewound, InvalidArgumentError, isMnemeError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import type { Position } from '../base/revision.ts'
import { keysOf, resultOf } from '../base/standard-schema.ts'
import { freezeState, freezeStep } from '../execution/freeze.ts'
import type { AnyAggregate } from '../model/aggregate.ts'
import { type AnyEventType, eventTypeRecord, type EventTypeRecord, personalOf } from '../model/event-type.ts'
import type { Recorded } from '../model/event.ts'
import { categoryOf } from '../model/names.ts'
import { unboxedPersonal } from '../model/personal.ts'
import { decode } from '../model/upcast.ts'
import { checkPosition } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { className, type EventPlace, Findings, type HistoryFinding, placeOf } from './findings.ts'
import { checkDictionaries, type Dictionaries } from './paths.ts'
import { isSealedAt } from './sealed.ts'
import { checkAggregates, type Checked, FoldedStream, HeldStreams } from './streams.ts'

/** Options of `checkHistory`. */
export interface CheckOptions {
  /** Check only what follows this position, for example the `position` of an earlier report. */
  readonly after?: Position | undefined
  /** The last position to check, inclusive. Default: the end of the log when the check begins. */
  readonly to?: Position | undefined
  /**
   * Events whose schemas refuse their own output, like `z.object({ at: z.string().transform(Number) })`: their stored data
   * is not checked by the schema.
   */
  readonly unchecked?: readonly AnyEventType[] | undefined
  readonly dictionaries?: Dictionaries | undefined
  /** How many findings are told apart at most. Default: 1,000. */
  readonly maxFindings?: number | undefined
  /**
   * How many streams' states are held at once. If a stream whose state was dropped goes on, it is read again, as a whole.
   * Default: 100,000.
   */
  readonly maxStates?: number | undefined
  /** Ends the check between two events; the report then says how far it came. */
  readonly signal?: AbortSignal | undefined
  /** Called after every 1,000 events, and at the end. */
  readonly onProgress?: ((progress: CheckProgress) => void) | undefined
}

/** How far a check has come. */
export interface CheckProgress {
  /** How many events were read, also those on streams of other categories. */
  readonly events: number
  /** The position up to which everything was checked. */
  readonly position: Position
  /** When the event at this position was recorded. */
  readonly time: string
  /** How many kinds of findings there are so far. */
  readonly findings: number
}

/** What `checkHistory` found. It is plain JSON, and holds no value of the events' data. */
export interface HistoryReport {
  /** `false` if the signal ended the check before its end. */
  readonly finished: boolean
  /** Everything up to here was checked: `after` of the check that continues. `undefined` if nothing was. */
  readonly position: Position | undefined
  /** How many events on streams of the aggregates were checked. */
  readonly events: number
  readonly findings: readonly HistoryFinding[]
  /** How many events have findings that are not in `findings`, because these would be more than `maxFindings`. */
  readonly omitted: number
  /**
   * How many events were upcast and checked by their schemas, but not folded: an earlier event of their stream has a
   * finding, or the beginning of the stream was truncated.
   */
  readonly unfolded: number
  /** Streams of the aggregates without their beginning. No state can be folded from them without a snapshot. */
  readonly truncated: { readonly streams: number; readonly first: EventPlace | undefined }
  /** Events on streams that belong to none of the aggregates, which were counted only. */
  readonly others: {
    readonly events: number
    /** By category, the largest first: 100 of them at most. */
    readonly categories: readonly { readonly category: string; readonly events: number }[]
  }
  /** How many events were read again, because the states of their streams were not held. */
  readonly reread: number
}

/**
 * Checks that this program can read what is recorded: every event of the aggregates' streams is upcast, checked by the
 * schema of its newest version, and folded, in the order of the store.
 *
 * Nothing is written. Neither the report nor an error holds a value of the events' data.
 *
 * @throws HistoryRewoundError if the log ends before `after`; what the store throws if it fails; InvalidArgumentError
 * @example
 * ```ts
 * const report = await checkHistory(store, [Door, BankAccount])
 * for (const { kind, type, version, events, first } of report.findings) {
 *   console.log(kind, type, version, events, first.stream, first.revision)
 * }
 * ```
 */
export async function checkHistory(
  store: EventStore,
  aggregates: readonly AnyAggregate[],
  options: CheckOptions = {},
): Promise<HistoryReport> {
  coreOf(store)
  checkOptions(options, 'options', KNOWN_OPTIONS)
  const { onProgress } = options
  const after = checkPosition(options.after, 'after')
  const signal = checkSignal(options.signal)
  if (onProgress !== undefined) checkFunction(onProgress, 'onProgress')
  const checked = checkAggregates(aggregates)
  const head = await store.logHead()
  // What was checked is gone: the rest says nothing of what took its place.
  if (after !== undefined && (head === undefined || head < after)) throw historyRewound(after)
  const to = checkPosition(options.to, 'to') ?? head
  const check = new HistoryCheck(store, checked, options, to ?? '')
  if (to === undefined) return check.report(true)
  try {
    for await (const event of store.readAll({ after, to, signal })) {
      const waiting = check.add(event)
      if (waiting) await waiting
      if (check.read % EVENTS_PER_PROGRESS === 0) onProgress?.(check.progress(event))
    }
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return check.report(false)
    throw error
  }
  if (check.last && check.read % EVENTS_PER_PROGRESS !== 0) onProgress?.(check.progress(check.last))
  return check.report(true)
}

const KNOWN_OPTIONS = [
  ...(['after', 'to', 'unchecked', 'dictionaries', 'maxFindings', 'maxStates', 'signal'] as const),
  'onProgress' as const,
]
const EVENTS_PER_PROGRESS = 1_000
const MAX_OTHER_CATEGORIES = 100

class HistoryCheck {
  readonly #store: EventStore
  readonly #aggregates: ReadonlyMap<string, Checked>
  readonly #after: Position | undefined
  readonly #to: Position
  readonly #signal: AbortSignal | undefined
  readonly #unchecked: ReadonlySet<EventTypeRecord>
  readonly #dictionaries: ReadonlyMap<string, ReadonlySet<string>>
  readonly #findings: Findings
  readonly #streams: HeldStreams
  readonly #others = new Map<string, number>()
  #otherEvents = 0
  #events = 0
  #unfolded = 0
  #reread = 0
  #truncated = 0
  #firstTruncated: EventPlace | undefined
  last: Recorded | undefined

  constructor(
    store: EventStore,
    aggregates: ReadonlyMap<string, Checked>,
    options: CheckOptions,
    to: Position,
  ) {
    const { maxFindings = 1_000, maxStates = 100_000, unchecked, dictionaries, after, signal } = options
    this.#store = store
    this.#aggregates = aggregates
    this.#after = after
    this.#to = to
    this.#signal = signal
    this.#unchecked = new Set(checkList(unchecked, 'unchecked', eventTypeRecord))
    this.#dictionaries = checkDictionaries(dictionaries)
    this.#findings = new Findings(checkWhole(maxFindings, 'maxFindings', 1))
    this.#streams = new HeldStreams(checkWhole(maxStates, 'maxStates', 1))
  }

  /** How many events were read. */
  get read(): number {
    return this.#events + this.#otherEvents
  }

  /** Checks an event. Returns a promise only if something has to be read first: a promise for each event costs much. */
  add(event: Recorded): Promise<void> | undefined {
    const held = this.#streams.get(event.stream)
    if (held) {
      if (!held.isBroken && event.revision !== held.next) {
        return this.#explainGap(event, held).then(() => {
          this.#check(event, held)
        })
      }
      this.#check(event, held)
      return undefined
    }
    const category = categoryOf(event.stream)
    const known = this.#aggregates.get(category)
    if (!known) {
      this.#otherEvents++
      this.#countOther(category)
      this.last = event
      return undefined
    }
    const begun = new FoldedStream(known)
    const mayBeKnown = this.#after !== undefined || this.#streams.hasDropped
    if (event.revision > 0 && mayBeKnown) {
      return this.#catchUp(event, begun).then(() => {
        this.#streams.hold(event.stream, begun)
        this.#check(event, begun)
      })
    }
    this.#streams.hold(event.stream, begun)
    if (event.revision > 0) this.#truncate(event, begun)
    this.#check(event, begun)
    return undefined
  }

  progress({ position, time }: Recorded): CheckProgress {
    return { events: this.read, position, time, findings: this.#findings.count }
  }

  report(finished: boolean): HistoryReport {
    const categories = [...this.#others].map(([category, events]) => ({ category, events }))
    return {
      finished,
      position: this.last?.position ?? this.#after,
      events: this.#events,
      findings: this.#findings.list(),
      omitted: this.#findings.omitted,
      unfolded: this.#unfolded,
      truncated: { streams: this.#truncated, first: this.#firstTruncated },
      others: { events: this.#otherEvents, categories: categories.sort((a, b) => b.events - a.events) },
      reread: this.#reread,
    }
  }

  #countOther(category: string): void {
    const count = this.#others.get(category)
    if (count === undefined && this.#others.size >= MAX_OTHER_CATEGORIES) return
    this.#others.set(category, (count ?? 0) + 1)
  }

  #check(event: Recorded, held: FoldedStream): void {
    this.#events++
    this.last = event
    held.isUsed = true
    if (!held.isBroken && event.revision !== held.next) {
      this.#find('missing-events', event, held)
      held.break()
    }
    if (held.isBroken) this.#unfolded++
    const wasBroken = held.isBroken
    const current = this.#decode(event, held)
    if (!current) {
      held.break()
      return
    }
    if (!wasBroken) this.#fold(event, current, held)
    // After the fold: a schema may change the data that it is given.
    this.#validate(event, current, held)
  }

  /** The event as the program knows it; `undefined` if it has a finding. */
  #decode(event: Recorded, held: FoldedStream): Recorded | undefined {
    const { fold } = held
    try {
      return decode(fold, event)
    } catch (error) {
      if (isMnemeError(error) && error.code === 'UNKNOWN_EVENT') {
        this.#find(fold.eventTypes.has(event.type) ? 'newer-version' : 'unknown-type', event, held)
      } else if (isMnemeError(error) && error.code === 'SEAL_BROKEN') this.#find('seal-broken', event, held)
      else this.#find('upcast-failed', event, held, { error: className((error as Error).cause ?? error) })
      return undefined
    }
  }

  #fold(event: Recorded, current: Recorded, held: FoldedStream): void {
    if (held.ahead) {
      const { failedAt, error } = held.ahead
      if (event.revision !== failedAt) {
        held.next++
        return
      }
      this.#find('fold-failed', event, held, { error })
      held.break()
      return
    }
    try {
      foldNext(held, current)
    } catch (thrown) {
      this.#find('fold-failed', event, held, { error: className(thrown) })
      held.break()
    }
  }

  #validate(event: Recorded, { type, data }: Recorded, held: FoldedStream): void {
    const record = held.fold.eventTypes.get(type)!
    if (!record.schema || this.#unchecked.has(record)) return
    try {
      const plain = unboxedPersonal(data as object, personalOf(record))
      const { issues = [] } = resultOf(record.schema, plain, type)
      const refused = issues.filter((issue) => !isSealedAt(plain, keysOf(issue)))
      if (refused.length === 0) return
      this.#find('schema-refused', event, held, {
        paths: refused.map(keysOf),
        dictionaries: this.#dictionaries.get(event.type),
      })
    } catch (thrown) {
      if (isMnemeError(thrown)) throw thrown
      this.#find('schema-refused', event, held, { error: className(thrown) })
    }
  }

  #find(
    kind: HistoryFinding['kind'],
    event: Recorded,
    { category }: FoldedStream,
    reason?: Parameters<Findings['add']>[3],
  ): void {
    this.#findings.add(kind, category, event, reason)
  }

  /**
   * Folds what comes before an event of a stream whose state is not held; its findings were told when it was checked.
   *
   * If states had to be dropped, the stream is folded to its end at once: it may come back often, and would be read from its
   * beginning each time.
   */
  async #catchUp(event: Recorded, held: FoldedStream): Promise<void> {
    const { stream, revision } = event
    const isAhead = this.#streams.hasDropped
    let failedAt: number | undefined
    let error: string | undefined
    let isFirst = true
    try {
      const to = isAhead ? undefined : revision - 1
      for await (const one of this.#store.read(stream, { to, signal: this.#signal })) {
        if (one.position > this.#to) break
        this.#reread++
        if (one.revision < revision) isFirst = false
        const thrown = one.revision === held.next ? thrownBy(held, one) : GAP
        if (thrown === undefined) continue
        // From here on, a gap and an event that cannot be decoded are found when it is their turn.
        if (one.revision < revision) held.break()
        else if (thrown.step === 'fold') [failedAt, error] = [one.revision, className(thrown.error)]
        break
      }
    } catch (error) {
      if (!isMnemeError(error) || error.code !== 'STREAM_DELETED') throw error
    }
    if (isFirst) this.#truncate(event, held)
    else if (isAhead && !held.isBroken) {
      held.ahead = { failedAt, error }
      held.state = undefined
      held.next = revision
    }
  }

  /**
   * A stream that is truncated while it is checked has a gap, too; and KurrentDB removes truncated events from its log late, and
   * not all at once.
   */
  async #explainGap(event: Recorded, held: FoldedStream): Promise<void> {
    const first = await this.#firstRevision(event.stream)
    if (first === undefined || first > held.next) this.#truncate(event, held)
  }

  /** The first revision that a stream still has; `undefined` if it has no event left. */
  async #firstRevision(stream: string): Promise<number | undefined> {
    try {
      for await (const { revision } of this.#store.read(stream, { limit: 1, signal: this.#signal }))
        return revision
    } catch (error) {
      if (!isMnemeError(error) || error.code !== 'STREAM_DELETED') throw error
    }
    return undefined
  }

  #truncate(event: Recorded, held: FoldedStream): void {
    this.#truncated++
    this.#firstTruncated ??= placeOf(event)
    held.break()
  }
}

/** The next step of a stream's fold, as commands make it. @throws what `apply` throws */
function foldNext(held: FoldedStream, current: Recorded): void {
  const { fold } = held
  const state = fold.evolve(held.state as never, current)
  if (fold.isolation === 'freeze') {
    freezeStep(state)
    const obstacle = held.next === 0 ? freezeState(state) : undefined
    if (obstacle !== undefined) throw new InvalidArgumentError('the state', `without ${obstacle}`)
  }
  held.state = state
  held.next++
}

const GAP = { step: 'read', error: undefined } as const

/** What is thrown when the next event of a stream is folded; `undefined` if nothing is. */
function thrownBy(
  held: FoldedStream,
  event: Recorded,
): { readonly step: 'read' | 'decode' | 'fold'; readonly error: unknown } | undefined {
  let step: 'decode' | 'fold' = 'decode'
  try {
    const current = decode(held.fold, event)
    step = 'fold'
    foldNext(held, current)
    return undefined
  } catch (error) {
    return { step, error }
  }
}
