import { withdrawOnAbort } from '../base/abort.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import type { AppendRequest, AppendVerdict } from './store-adapter.ts'

/** An append that waits, or is under way. */
export interface QueuedAppend {
  readonly request: AppendRequest
  /** The names of its streams, and its keys behind a NUL, which no name has. */
  readonly claims: readonly string[]
  /** UTF-16 units of its JSON. */
  readonly size: number
  /** Since when it waits, by the queue's clock. */
  readonly since: number
  /** The largest number of appends in a call that it may be part of; lowered when a call with it failed. */
  maxCallSize: number
  /** Whether it found a lock that another writer holds: then it waits for the lock in a call of its own. */
  isContended: boolean
  /** Since when a lock of another writer delays it, directly or by an append that waits for one. */
  heldSince: number | undefined
  resolve: (verdict: AppendVerdict) => void
  reject: (reason: unknown) => void
}

/**
 * Sends appends in one call and settles each of them, except those that it returns: nothing of them was written, and
 * they are sent again, ahead of all that wait. Before it returns them it changes what stood in their way
 * (`maxCallSize`, `isContended`). Throws nothing.
 *
 * @param isPatient whether the call may wait for locks of other writers.
 */
export type SendAppends = (
  batch: readonly QueuedAppend[],
  isPatient: boolean,
) => Promise<readonly QueuedAppend[]>

/** What a store's calls can carry. */
export interface CallRules {
  /** Calls under way at once. */
  readonly maxCalls: number
  readonly maxAppendsPerCall: number
  readonly maxEventsPerCall: number
  /** The names that no append under way beside it may claim. */
  claimsOf(request: AppendRequest): readonly string[]
  /** Whether an append may share a call with another one that makes the same claim, if that one may, too. */
  mayShare(request: AppendRequest, claim: string): boolean
  /** Whether an append can only be in a call of its own. */
  isAlone(request: AppendRequest): boolean
}

/**
 * The appends of one store in this process. Those that wait together go in one call; one alone goes at once.
 *
 * - Appends to one stream go in their order: while one is under way, others that name its streams wait.
 * - Normally there is one call at a time, which makes calls large. If it takes longer than {@link LATE_CALL_MS}, the
 *   next one is sent, so that a slow commit delays only its own streams.
 * - An append that finds a stream locked by another writer waits for the lock in a call of its own.
 */
export class AppendQueue {
  readonly #send: SendAppends
  readonly #rules: CallRules
  readonly #clock: Clock
  #waiting: QueuedAppend[] = []
  /** What the appends under way claim, and whether their call waits for locks. */
  readonly #claimed = new Map<string, { readonly isPatient: boolean }>()
  #calls = 0
  #lastCallAt = -Infinity
  #isScheduled = false
  #isTimed = false
  #maxAppends: number

  constructor(send: SendAppends, rules: CallRules, clock = systemClock) {
    this.#send = send
    this.#rules = rules
    this.#clock = clock
    this.#maxAppends = rules.maxAppendsPerCall
  }

  /** Resolves with the verdict once it is committed. Until it is sent, `signal` withdraws it. */
  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    return new Promise((resolve, reject) => {
      const append: QueuedAppend = {
        request,
        claims: this.#rules.claimsOf(request),
        size: sizeOf(request),
        since: this.#clock.now(),
        maxCallSize: this.#rules.isAlone(request) ? 1 : Infinity,
        isContended: false,
        heldSince: undefined,
        resolve,
        reject,
      }
      this.#waiting.push(append)
      if (signal) withdrawOnAbort(signal, append, () => this.#waiting)
      this.#schedule()
    })
  }

  /** Limits calls to so many appends, because larger ones took too long; full calls raise the limit one by one. */
  shrinkTo(appends: number): void {
    this.#maxAppends = Math.max(1, appends)
  }

  /** Rejects the appends that have waited for so many milliseconds and were never sent: the server is away. */
  giveUp(error: Error, milliseconds: number): void {
    const now = this.#clock.now()
    const late = this.#waiting.filter(({ since }) => now - since >= milliseconds)
    this.#remove(late)
    for (const { reject } of late) reject(error)
  }

  /** Runs after the microtasks at hand: callers whose appends were just committed meet in the next call. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    process.nextTick(this.#run)
  }

  readonly #run = (): void => {
    this.#isScheduled = false
    const { maxCalls } = this.#rules
    // One call is left to appends that no lock delays.
    while (this.#calls < Math.max(1, maxCalls - 1)) {
      const contended = this.#takeContended()
      if (contended.length === 0) break
      void this.#call(contended, { isPatient: true })
    }
    while (this.#waiting.length > 0 && this.#calls < maxCalls) {
      const wait = this.#calls === 0 ? 0 : this.#lastCallAt + LATE_CALL_MS - this.#clock.now()
      if (wait > 0) {
        if (!this.#isTimed) this.#clock.after(wait, this.#runLate)
        this.#isTimed = true
        return
      }
      const batch = this.#take()
      if (batch.length === 0) return
      this.#lastCallAt = this.#clock.now()
      // The last call of all waits for no lock.
      const isLast = this.#calls > 0 && this.#calls === maxCalls - 1
      void this.#call(batch, { isPatient: batch.length === 1 && !isLast })
    }
  }

  readonly #runLate = (): void => {
    this.#isTimed = false
    this.#run()
  }

  async #call(batch: readonly QueuedAppend[], how: { readonly isPatient: boolean }): Promise<void> {
    this.#calls++
    for (const { claims } of batch) for (const claim of claims) this.#claimed.set(claim, how)
    const again = await this.#send(batch, how.isPatient)
    this.#calls--
    for (const { claims } of batch) for (const claim of claims) this.#claimed.delete(claim)
    if (again.length > 0) this.#waiting = [...again, ...this.#waiting]
    if (this.#waiting.length > 0) this.#schedule()
  }

  /** The first append that waits for a lock, with those behind it that claim nothing else. */
  #takeContended(): QueuedAppend[] {
    const batch: QueuedAppend[] = []
    const together = new Set<string>()
    const passed = new Set<string>()
    for (const append of this.#waiting) {
      if (!append.isContended) break
      const { claims, request } = append
      const isFree = !claims.some((claim) => this.#claimed.has(claim) || passed.has(claim))
      const isAlike =
        append.maxCallSize > batch.length &&
        claims.every((claim) => together.has(claim) && this.#rules.mayShare(request, claim))
      if (!isFree || (batch.length > 0 && !isAlike)) {
        for (const claim of claims) passed.add(claim)
        continue
      }
      batch.push(append)
      for (const claim of claims) together.add(claim)
    }
    this.#remove(batch)
    return batch
  }

  /** As many as may go together. An append that claims what is claimed waits, and so does one behind it that does. */
  #take(): QueuedAppend[] {
    const batch: QueuedAppend[] = []
    const passed = new Set<string>()
    /** What the batch claims, and whether other appends may claim it, too. */
    const together = new Map<string, boolean>()
    let maxAppends = this.#maxAppends
    let events = 0
    let size = 0
    for (const append of this.#waiting) {
      const { claims, request } = append
      if (this.#isHeld(append, passed, together) || append.maxCallSize <= batch.length) {
        for (const claim of claims) passed.add(claim)
        continue
      }
      maxAppends = Math.min(maxAppends, append.maxCallSize)
      const isFull =
        batch.length >= maxAppends ||
        together.size + claims.length > MAX_CLAIMS_PER_CALL ||
        events + request.events.length > this.#rules.maxEventsPerCall ||
        size + append.size > MAX_UNITS_PER_CALL
      if (isFull && batch.length > 0) {
        this.#maxAppends = Math.min(this.#maxAppends + 1, this.#rules.maxAppendsPerCall)
        break
      }
      batch.push(append)
      for (const claim of claims) {
        together.set(claim, this.#rules.mayShare(request, claim) && together.get(claim) !== false)
      }
      events += request.events.length
      size += append.size
    }
    this.#remove(batch)
    return batch
  }

  /** Whether an append has to wait for another one, under way, ahead of it, or in the batch. */
  #isHeld(
    append: QueuedAppend,
    passed: ReadonlySet<string>,
    together: ReadonlyMap<string, boolean>,
  ): boolean {
    const { claims, request, isContended } = append
    const isHeld = claims.some((claim) => {
      if (this.#claimed.has(claim) || passed.has(claim)) return true
      const isShared = together.get(claim)
      return isShared !== undefined && !(isShared && this.#rules.mayShare(request, claim))
    })
    if (isHeld && claims.some((claim) => this.#claimed.get(claim)?.isPatient === true)) {
      append.heldSince ??= this.#clock.now()
    }
    return isHeld || isContended
  }

  #remove(batch: readonly QueuedAppend[]): void {
    if (batch.length === this.#waiting.length) this.#waiting = []
    else if (batch.length > 0) {
      const taken = new Set(batch)
      this.#waiting = this.#waiting.filter((append) => !taken.has(append))
    }
  }
}

/** The names of an append's streams, and its keys behind a NUL, which no name has. */
export function claimsOf({ conditions, keys }: AppendRequest): string[] {
  const claims = conditions.map(({ stream }) => stream)
  for (const { key } of keys) claims.push(`\0${key}`)
  return claims
}

/** Whether a claim is that of a key. */
export function isKeyClaim(claim: string): boolean {
  return claim.startsWith('\0')
}

function sizeOf({ events }: AppendRequest): number {
  let size = 0
  for (const { data, metadata } of events) size += data.length + metadata.length
  return size
}

/** Milliseconds after which a call is late, and the next one is sent beside it. */
const LATE_CALL_MS = 2
/** Streams and keys in a call: on PostgreSQL each takes a lock, of which the server has a limited number. */
const MAX_CLAIMS_PER_CALL = 256
/** UTF-16 units of JSON in a call; one append alone may be larger. */
const MAX_UNITS_PER_CALL = 1024 * 1024
