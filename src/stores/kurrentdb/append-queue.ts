import { withdrawOnAbort } from '../../base/abort.ts'
import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import type { Clock } from './clock.ts'

/** An append that waits, or is under way. */
export interface Waiting {
  readonly request: AppendRequest
  readonly size: number
  /** Since when it waits. */
  readonly since: number
  /** Whether it has to go by itself: what it stands on is to be looked up first, or it failed beside others. */
  isAlone: boolean
  resolve: (verdict: AppendVerdict) => void
  reject: (reason: unknown) => void
}

/** Makes a call of appends and settles each of them, but for those that it gives back, to be sent again. */
export type Call = (batch: readonly Waiting[]) => Promise<readonly Waiting[]>

/**
 * The appends of one store in this process. Those that wait together go as one append of the server's, which it
 * makes all or nothing; one alone goes at once.
 *
 * - Appends to one stream go in their order: while one is under way, others that name its streams wait.
 * - As a rule there is one call at a time, which makes them large. When it does not return for {@link NEXT_CALL_AFTER_MS}, the
 *   next one sets out, so that a slow commit delays only its own streams.
 */
export class AppendQueue {
  readonly #call: Call
  readonly #mayJoin: (request: AppendRequest) => boolean
  readonly #clock: Clock
  #waiting: Waiting[] = []
  /** The streams and keys of the appends under way. */
  readonly #claimed = new Set<string>()
  #calls = 0
  #lastCall = -Infinity
  #isScheduled = false
  #isTimed = false

  /** @param mayJoin whether an append can go with others. */
  constructor(call: Call, mayJoin: (request: AppendRequest) => boolean, clock: Clock) {
    this.#call = call
    this.#mayJoin = mayJoin
    this.#clock = clock
  }

  /** Resolves with the verdict once it is committed. Until it is sent, `signal` withdraws it. */
  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    return new Promise((resolve, reject) => {
      const isAlone = !this.#mayJoin(request)
      const [size, since] = [sizeOf(request), this.#clock.now()]
      const waiting: Waiting = { request, size, since, isAlone, resolve, reject }
      this.#waiting.push(waiting)
      if (signal) withdrawOnAbort(signal, waiting, () => this.#waiting)
      this.#schedule()
    })
  }

  /** The server is away: those that have waited for so many milliseconds wait no longer. They were never sent. */
  giveUp(error: Error, deadline: number): void {
    const now = this.#clock.now()
    const [late, others] = [[] as Waiting[], [] as Waiting[]]
    for (const waiting of this.#waiting) (now - waiting.since >= deadline ? late : others).push(waiting)
    this.#waiting = others
    for (const { reject } of late) reject(error)
  }

  /** When the microtasks at hand are through: callers whose appends were just committed meet in the next call. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    process.nextTick(this.#run)
  }

  readonly #run = (): void => {
    this.#isScheduled = false
    while (this.#waiting.length > 0 && this.#calls < MAX_CALLS) {
      const left = this.#calls === 0 ? 0 : this.#lastCall + NEXT_CALL_AFTER_MS - this.#clock.now()
      if (left > 0) {
        if (!this.#isTimed) this.#clock.after(left, this.#late)
        this.#isTimed = true
        return
      }
      const batch = this.#take()
      if (batch.length === 0) return
      this.#lastCall = this.#clock.now()
      void this.#send(batch)
    }
  }

  readonly #late = (): void => {
    this.#isTimed = false
    this.#run()
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const claims = batch.flatMap(({ request }) => claimsOf(request))
    this.#calls++
    for (const claim of claims) this.#claimed.add(claim)
    const again = await this.#call(batch)
    this.#calls--
    for (const claim of claims) this.#claimed.delete(claim)
    // They were before all that wait.
    if (again.length > 0) this.#waiting = [...again, ...this.#waiting]
    if (this.#waiting.length > 0) this.#schedule()
  }

  /** As many as may go together. One that names what is claimed waits, and so does what names its streams. */
  #take(): Waiting[] {
    const batch: Waiting[] = []
    const passed = new Set<string>()
    /** What the batch claims, and whether others that expect nothing of it may join. */
    const together = new Map<string, boolean>()
    let events = 0
    let size = 0
    for (const waiting of this.#waiting) {
      const { request } = waiting
      const claims = claimsOf(request)
      const isLoose =
        request.keys.length === 0 && request.conditions.every(({ expected }) => expected === 'any')
      const isHeld = claims.some(
        (claim) =>
          this.#claimed.has(claim) ||
          passed.has(claim) ||
          (together.has(claim) && !(isLoose && together.get(claim))),
      )
      if (isHeld || (waiting.isAlone && batch.length > 0)) {
        for (const claim of claims) passed.add(claim)
        continue
      }
      const isFull =
        together.size + claims.length > MAX_CLAIMS_PER_CALL ||
        events + request.events.length > MAX_EVENTS_PER_CALL ||
        size + waiting.size > MAX_UNITS_PER_CALL
      if (isFull && batch.length > 0) break
      batch.push(waiting)
      for (const claim of claims) together.set(claim, isLoose)
      events += request.events.length
      size += waiting.size
      if (waiting.isAlone) break
    }
    const taken = new Set(batch)
    this.#waiting = this.#waiting.filter((waiting) => !taken.has(waiting))
    return batch
  }
}

/**
 * The names of an append's streams, and its keys behind a NUL, which no name has. The server takes names that differ
 * only in case for one within an append.
 */
function claimsOf({ conditions, keys }: AppendRequest): string[] {
  const claims = conditions.flatMap(({ stream }) => [
    ...new Set([stream.toLowerCase(), stream.toUpperCase()]),
  ])
  for (const { key } of keys) claims.push(`\0${key}`)
  return claims
}

function sizeOf({ events }: AppendRequest): number {
  let size = 0
  for (const { data, metadata } of events) size += data.length + metadata.length
  return size
}

/** How long a call may take before the next one sets out beside it. */
const NEXT_CALL_AFTER_MS = 2
const MAX_CALLS = 8
const MAX_CLAIMS_PER_CALL = 256
const MAX_EVENTS_PER_CALL = 2_000
/** UTF-16 units of JSON in a call; one append alone may be larger. */
const MAX_UNITS_PER_CALL = 1024 * 1024
