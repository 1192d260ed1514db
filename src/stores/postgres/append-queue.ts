import { withdrawOnAbort } from '../../base/abort.ts'
import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import { EVENTS_PER_NUMBER } from './position.ts'

/** An append that waits, or is under way. */
export interface Waiting {
  readonly request: AppendRequest
  /** The names of its streams, and its keys behind a NUL, which no name has. */
  readonly claims: readonly string[]
  readonly size: number
  /** Whether it found a stream or a key held by others, and is to wait for it apart. */
  isContended: boolean
  /** Since when it is held up by what others hold, or by an append that waits for that. */
  heldSince: number | undefined
  resolve: (verdict: AppendVerdict) => void
  reject: (reason: unknown) => void
}

/**
 * Makes a call of appends, which waits for what others hold if so told, and settles each of them, but for those that
 * it gives back: they found something held by others. Throws nothing.
 */
export type Call = (batch: readonly Waiting[], isPatient: boolean) => Promise<readonly Waiting[]>

/**
 * The appends of one store in this process. Those that wait together go in one call; one alone goes at once.
 *
 * - Appends to one stream go in their order: while one is under way, others that name its streams wait.
 * - As a rule there is one call at a time, which makes them large. When it does not return for {@link LATE}, the
 *   next one sets out, so that a slow commit delays only its own streams.
 * - Whoever finds a stream held by another process waits for it apart, on a connection of its own.
 */
export class AppendQueue {
  readonly #call: Call
  readonly #connections: number
  #waiting: Waiting[] = []
  /** What the appends under way claim, and whether they wait for others. */
  readonly #claimed = new Map<string, { readonly isPatient: boolean }>()
  #calls = 0
  /** When the last call set out that still is the last one. */
  #lastCall = -Infinity
  #isScheduled = false
  #isTimed = false
  #most = MOST_APPENDS

  /** @param connections how many calls can be under way at once. */
  constructor(call: Call, connections: number) {
    this.#call = call
    this.#connections = connections
  }

  /** Resolves with the verdict once it is committed. Until it is sent, `signal` withdraws it. */
  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        request,
        claims: claimsOf(request),
        size: sizeOf(request),
        isContended: false,
        heldSince: undefined,
        resolve,
        reject,
      }
      this.#waiting.push(waiting)
      if (signal) withdrawOnAbort(signal, waiting, () => this.#waiting)
      this.#schedule()
    })
  }

  /** When the microtasks at hand are through: callers whose appends were just committed meet in the next call. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    process.nextTick(this.#run)
  }

  /** How many appends a call may have from now on: fewer, because so many took too long. */
  shrinkTo(appends: number): void {
    this.#most = Math.max(1, appends)
  }

  readonly #run = (): void => {
    this.#isScheduled = false
    // One connection is left to those that are not held up.
    while (this.#calls < Math.max(1, this.#connections - 1)) {
      const held = this.#takeContended()
      if (held.length === 0) break
      void this.#send(held, { isPatient: true })
    }
    if (this.#waiting.length === 0 || this.#calls >= this.#connections) return
    const left = this.#calls === 0 ? 0 : this.#lastCall + LATE - performance.now()
    if (left > 0) {
      if (!this.#isTimed) setTimeout(this.#late, left)
      this.#isTimed = true
      return
    }
    const batch = this.#take()
    if (batch.length === 0) return
    this.#lastCall = performance.now()
    // The last connection waits for nobody.
    const isLast = this.#calls > 0 && this.#calls === this.#connections - 1
    void this.#send(batch, { isPatient: batch.length === 1 && !isLast })
  }

  readonly #late = (): void => {
    this.#isTimed = false
    this.#run()
  }

  async #send(batch: readonly Waiting[], how: { readonly isPatient: boolean }): Promise<void> {
    this.#calls++
    for (const { claims } of batch) for (const claim of claims) this.#claimed.set(claim, how)
    const contended = await this.#call(batch, how.isPatient)
    this.#calls--
    for (const { claims } of batch) for (const claim of claims) this.#claimed.delete(claim)
    for (const waiting of contended) {
      waiting.isContended = true
      waiting.heldSince ??= performance.now()
    }
    // They were before all that wait.
    if (contended.length > 0) this.#waiting = [...contended, ...this.#waiting]
    if (this.#waiting.length > 0) this.#schedule()
  }

  /** The first append that is to wait for others, with those behind it that claim nothing else. */
  #takeContended(): Waiting[] {
    const batch: Waiting[] = []
    const together = new Set<string>()
    const passed = new Set<string>()
    for (const waiting of this.#waiting) {
      if (!waiting.isContended) break
      const { claims, request } = waiting
      const isFree = !claims.some((claim) => this.#claimed.has(claim) || passed.has(claim))
      const isAlike = request.keys.length === 0 && claims.every((claim) => together.has(claim))
      if (!isFree || (batch.length > 0 && !isAlike)) {
        for (const claim of claims) passed.add(claim)
        continue
      }
      batch.push(waiting)
      for (const claim of claims) together.add(claim)
    }
    this.#remove(batch)
    return batch
  }

  /** As many as may go together. One that names what is claimed waits, and so does what names its streams. */
  #take(): Waiting[] {
    const batch: Waiting[] = []
    const passed = new Set<string>()
    const together = new Set<string>()
    let events = 0
    let size = 0
    for (const waiting of this.#waiting) {
      const { claims, request } = waiting
      const isHeld =
        waiting.isContended ||
        claims.some(
          (claim) => this.#claimed.has(claim) || passed.has(claim) || (isKey(claim) && together.has(claim)),
        )
      if (isHeld) {
        if (claims.some((claim) => this.#claimed.get(claim)?.isPatient))
          waiting.heldSince ??= performance.now()
        for (const claim of claims) passed.add(claim)
        continue
      }
      const isFull =
        batch.length >= this.#most ||
        together.size + claims.length > MOST_CLAIMS ||
        events + request.events.length > EVENTS_PER_NUMBER ||
        size + waiting.size > LARGEST
      if (isFull && batch.length > 0) {
        this.#most = Math.min(this.#most + 1, MOST_APPENDS)
        break
      }
      batch.push(waiting)
      for (const claim of claims) together.add(claim)
      events += request.events.length
      size += waiting.size
    }
    this.#remove(batch)
    return batch
  }

  #remove(batch: readonly Waiting[]): void {
    if (batch.length === this.#waiting.length) this.#waiting = []
    else if (batch.length > 0) {
      const taken = new Set(batch)
      this.#waiting = this.#waiting.filter((waiting) => !taken.has(waiting))
    }
  }
}

function claimsOf({ conditions, keys }: AppendRequest): string[] {
  const claims = conditions.map(({ stream }) => stream)
  for (const { key } of keys) claims.push(`\0${key}`)
  return claims
}

function isKey(claim: string): boolean {
  return claim.startsWith('\0')
}

function sizeOf({ events }: AppendRequest): number {
  let size = 0
  for (const { data, metadata } of events) size += data.length + metadata.length
  return size
}

/** Milliseconds after which a call is late. */
const LATE = 2
const MOST_APPENDS = 256
/** Streams and keys in a call: each takes a lock, of which the server has a limited number for all. */
const MOST_CLAIMS = 256
/** UTF-16 units of JSON in a call; one append alone may be larger. */
const LARGEST = 1024 * 1024
