import { environment } from '../../base/environment.ts'
import {
  isMnemeError,
  LimitError,
  OutcomeUnknownError,
  StoreBusyError,
  StoreUnavailableError,
  StreamDeletedError,
} from '../../base/errors.ts'
import { type Clock, currentTime, pause } from '../../base/clock.ts'
import { AppendQueue, claimsOf, isKeyClaim, type QueuedAppend } from '../../adapter/append-queue.ts'
import type { AppendRequest, AppendVerdict, Capabilities } from '../../adapter/store-adapter.ts'
import { Batch } from './batch.ts'
import type { Calls } from './connection.ts'
import { Expectations, isPlain } from './expectations.ts'
import type { Violation } from './errors.ts'
import { markerStream, UsedKeys } from './idempotency.ts'
import { retryDelays } from './retry.ts'
import { findRepeat, isOfAppend } from './repeats.ts'
import type { Reader } from './read.ts'
import { Writer } from './write.ts'

/** Appends. Those that wait together go in one call, and each gets its own verdict. */
export class Appender {
  readonly #reader: Reader
  readonly #writer: Writer
  readonly #expectations: Expectations
  readonly #usedKeys: UsedKeys
  readonly #queue: AppendQueue
  readonly #deadline: number
  readonly #clock: Clock

  constructor(calls: Calls, reader: Reader, { severalStreams }: Capabilities) {
    this.#deadline = calls.deadline
    this.#clock = calls.clock
    this.#reader = reader
    this.#writer = new Writer(calls, reader, severalStreams)
    this.#expectations = new Expectations(calls, reader)
    this.#usedKeys = new UsedKeys(reader)
    this.#queue = new AppendQueue(
      (batch) => this.#settle(batch),
      {
        maxCalls: MAX_CALLS,
        maxAppendsPerCall: Infinity,
        maxEventsPerCall: MAX_EVENTS_PER_CALL,
        claimsOf: foldedClaimsOf,
        mayShare: expectsNothing,
        isAlone: (request) => !severalStreams || !isPlain(request),
      },
      calls.clock,
    )
  }

  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    if (request.events.length > 0) {
      const isLikelyRepeat = request.keys.length > 0 && this.#usedKeys.isRepeating
      return isLikelyRepeat ? this.#appendUnlessUsed(request, signal) : this.#queue.append(request, signal)
    }
    return signal?.aborted ? Promise.reject(signal.reason as Error) : this.#verify(request)
  }

  async #appendUnlessUsed(request: AppendRequest, signal: AbortSignal | undefined): Promise<AppendVerdict> {
    const uses = await this.#usedKeys.find(request.keys)
    return uses.length > 0 ? { kind: 'used', uses } : this.#queue.append(request, signal)
  }

  async #verify(request: AppendRequest): Promise<AppendVerdict> {
    const verdict = await this.#expectations.verify(request)
    // A used key answers before the expectations. It is looked up afterwards, so that none can be used in between.
    const uses = await this.#usedKeys.find(request.keys)
    return uses.length > 0 ? { kind: 'used', uses } : verdict
  }

  /** Settles the appends of one call, and returns those that have to be sent again. */
  async #settle(batch: readonly QueuedAppend[]): Promise<readonly QueuedAppend[]> {
    try {
      if (batch.length > 1) return await this.#together(batch)
      batch[0]!.resolve(await this.#alone(batch[0]!.request))
    } catch (error) {
      if (batch.length > 1 && isOfOne(error)) return apart(batch)
      for (const waiting of batch) waiting.reject(error)
      const isAway = error instanceof StoreUnavailableError || error instanceof OutcomeUnknownError
      if (isAway) this.#queue.giveUp(new StoreUnavailableError('KurrentDB cannot be reached'), this.#deadline)
    }
    return []
  }

  async #together(waiting: readonly QueuedAppend[]): Promise<readonly QueuedAppend[]> {
    const batch = new Batch(
      waiting.map(({ request }) => request),
      { time: currentTime() },
    )
    const outcome = await this.#writer.write(batch)
    if (outcome.kind === 'written') {
      batch.verdicts(outcome).forEach((verdict, i) => {
        waiting[i]!.resolve(verdict)
      })
      return []
    }
    const verdicts = await Promise.all(waiting.map(({ request }) => this.#judge(request, outcome.violations)))
    verdicts.forEach((verdict, i) => {
      if (verdict) waiting[i]!.resolve(verdict)
    })
    const others = waiting.filter((_, i) => !verdicts[i])
    return others.length < waiting.length ? others : apart(waiting)
  }

  /** Makes one append, and repeats it while its streams have moved on since they were looked up. */
  async #alone(request: AppendRequest): Promise<AppendVerdict> {
    const started = this.#clock.now()
    for (const delay of retryDelays()) {
      const resolved = await this.#expectations.resolve(request)
      if ('kind' in resolved) return resolved
      const append = request.ids === 'given' ? environment.uuid() : undefined
      const batch = new Batch([{ ...request, conditions: resolved }], { time: currentTime(), append })
      const outcome = await this.#writer.write(batch)
      if (outcome.kind === 'violated') {
        const verdict = await this.#judge(request, outcome.violations)
        if (verdict) return verdict
        await this.#wait(started, delay)
        continue
      }
      const [verdict] = batch.verdicts(outcome)
      if (append === undefined || (await isOfAppend(this.#reader, batch, verdict!, append))) return verdict!
      const repeat = await findRepeat(this.#reader, request)
      if (repeat) return repeat
      const conflict = await this.#expectations.check(request)
      if (conflict) return conflict
      await this.#wait(started, delay)
    }
    throw new Error('retry delays never end')
  }

  /** Waits before another attempt, because another writer came first. @throws StoreBusyError */
  #wait(started: number, delay: number): Promise<void> {
    const waited = this.#clock.now() - started
    if (waited > this.#deadline) throw new StoreBusyError(waited)
    return pause(this.#clock, delay)
  }

  /** The verdict on one append of a refused call; `undefined` if none of its own expectations is violated. */
  async #judge(request: AppendRequest, violations: readonly Violation[]): Promise<AppendVerdict | undefined> {
    const { conditions, keys } = request
    const found = new Map(violations.map(({ stream, actual }) => [stream, actual]))
    if (keys.some(({ key }) => found.has(markerStream(key)))) {
      const uses = await this.#usedKeys.find(keys)
      if (uses.length > 0) return { kind: 'used', uses }
    }
    if (request.ids === 'given') {
      const repeat = await findRepeat(this.#reader, request)
      if (repeat) return repeat
    }
    for (const { stream, expected } of conditions) {
      if (!found.has(stream)) continue
      const actual = found.get(stream)
      if (actual === 'tombstoned') throw new StreamDeletedError(stream)
      const head = actual === 'deleted' ? 'none' : (actual ?? (await this.#reader.head(stream)))
      const isMet = expected === 'any' || (expected === 'exists' ? head !== 'none' : expected === head)
      if (!isMet) return { kind: 'conflict', stream, expected, actual: head }
    }
    return undefined
  }
}

/** Whether the server refused a call because of one of its appends, so that the other ones may succeed. */
function isOfOne(error: unknown): boolean {
  if (!isMnemeError(error) || error instanceof OutcomeUnknownError) return false
  return (
    error instanceof LimitError ||
    error.code === 'STREAM_DELETED' ||
    error.code === 'CANNOT_OPEN' ||
    error.code === 'STORE_FAILED'
  )
}

/** The same appends, each in a call of its own from now on. */
function apart(batch: readonly QueuedAppend[]): readonly QueuedAppend[] {
  for (const append of batch) append.maxCallSize = 1
  return batch
}

/** The server takes stream names that differ only in case for one name within an append. */
function foldedClaimsOf(request: AppendRequest): string[] {
  return claimsOf(request).map((claim) => (isKeyClaim(claim) ? claim : claim.toLowerCase().toUpperCase()))
}

/** Whether an append succeeds wherever its streams stand, so that it can follow another append to them in one call. */
function expectsNothing({ conditions, keys }: AppendRequest): boolean {
  return keys.length === 0 && conditions.every(({ expected }) => expected === 'any')
}

const MAX_CALLS = 8
const MAX_EVENTS_PER_CALL = 2_000
