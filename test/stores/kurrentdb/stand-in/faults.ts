import { setTimeout as sleep } from 'node:timers/promises'

/** Why a node does not take a request. */
export type Refusal =
  | { readonly kind: 'not-ready' | 'too-busy' | 'no-leader' | 'access-denied' }
  | { readonly kind: 'not-leader'; readonly host: string; readonly port: number }

/** What befalls a write. */
export type WriteFault =
  | Refusal
  /** The server gives up waiting for the commit, and says so; or its connections break; or it never answers. */
  | { readonly kind: 'timeout' | 'cut' | 'silence'; readonly isCommitted: boolean }
  /** It waits before it commits, or before it answers. */
  | {
      readonly kind: 'wait'
      readonly before?: Promise<unknown>
      readonly after?: Promise<unknown>
      readonly over?: () => void
    }

/** What befalls a read, when it has given so many events. */
export type ReadFault =
  | Refusal
  | { readonly kind: 'cut'; readonly after?: number }
  | { readonly kind: 'silence'; readonly after?: number }
  | { readonly kind: 'wait'; readonly before: Promise<unknown> }

/** What became of a request. */
export type Handled<T> =
  | { readonly kind: 'done'; readonly result: T }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'timeout' }
  /** Nobody hears of it. */
  | { readonly kind: 'silence' }

/** A write that stands still. */
export interface Held {
  /** Resolves when there is one. */
  readonly arrived: Promise<void>
  release(): void
  /** Resolves when the server has done with it. */
  readonly over: Promise<void>
}

/** What goes wrong, beyond what a network between could do. */
export class Faults {
  /** How many writes and reads met a fault that refuses them or leaves them without an answer. */
  met = 0
  /** Reads that are still to be answered, subscriptions among them. */
  openReads = 0
  /** Reads that have begun, subscriptions among them. */
  reads = 0
  /** Writes that have arrived. */
  writes = 0
  /** How long each answer to a write takes, and each read until it begins, in milliseconds. */
  delay = 0
  readonly #cut: () => void
  #writes: WriteFault[] = []
  #reads: ReadFault[] = []
  #arrivals: (() => void)[] = []

  constructor(cut: () => void) {
    this.#cut = cut
  }

  /** Befalls the next writes that have not met one yet; appends, deletions and tombstones. */
  nextWrite(fault: WriteFault, times = 1): void {
    for (let i = 0; i < times; i++) this.#writes.push(fault)
  }

  nextRead(fault: ReadFault, times = 1): void {
    for (let i = 0; i < times; i++) this.#reads.push(fault)
  }

  /** The next write stands still before it commits, or before it is answered. */
  holdNextWrite(when: 'before' | 'after' = 'before'): Held {
    const { promise, resolve } = defer()
    const [arrival, end] = [defer(), defer()]
    this.nextWrite({ kind: 'wait', [when]: promise, over: end.resolve })
    this.#arrivals.push(arrival.resolve)
    return { arrived: arrival.promise, release: resolve, over: end.promise }
  }

  clear(): void {
    this.#writes = []
    this.#reads = []
    this.delay = 0
  }

  /** Commits a write, unless something befalls it. At once, so that writes keep their order. */
  async write<T>(commit: () => T, isCancelled: () => boolean): Promise<Handled<T>> {
    this.writes++
    const fault = this.#writes.shift()
    if (fault?.kind === 'wait' && fault.before) {
      this.#arrivals.shift()?.()
      await fault.before
    }
    if (fault?.kind === 'wait' && fault.over) setImmediate(fault.over)
    if (isCancelled()) return { kind: 'silence' }
    if (fault && fault.kind !== 'wait') {
      this.met++
      if (!('isCommitted' in fault)) return { kind: 'refused', refusal: fault }
      if (fault.isCommitted) commit()
      if (fault.kind === 'cut') this.#cut()
      return fault.kind === 'timeout' ? { kind: 'timeout' } : { kind: 'silence' }
    }
    const result = commit()
    if (fault?.after) {
      this.#arrivals.shift()?.()
      await fault.after
    }
    if (this.delay > 0) await sleep(this.delay, undefined, { ref: false })
    return { kind: 'done', result }
  }

  /** What befalls a read that begins: it is refused, or `end` is to be called after so many events, for good. */
  async read(): Promise<Handled<{ readonly after: number; readonly end: () => void }>> {
    const fault = this.#reads.shift()
    this.reads++
    if (fault && fault.kind !== 'wait') this.met++
    if (fault?.kind === 'wait') await fault.before
    if (this.delay > 0) await sleep(this.delay, undefined, { ref: false })
    if (!fault || fault.kind === 'wait') return { kind: 'done', result: { after: Infinity, end: () => {} } }
    if (fault.kind === 'cut') return { kind: 'done', result: { after: fault.after ?? 0, end: this.#cut } }
    if (fault.kind === 'silence') return { kind: 'done', result: { after: fault.after ?? 0, end: () => {} } }
    return { kind: 'refused', refusal: fault }
  }
}

function defer(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
