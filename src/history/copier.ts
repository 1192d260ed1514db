import { endingWith } from '../base/abort.ts'
import { pause, systemClock } from '../base/clock.ts'
import { isTransient, OutcomeUnknownError, StoreClosedError, UnsupportedError } from '../base/errors.ts'
import { REACH_DELAYS, retryDelays } from '../base/retry.ts'
import type { Position } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { HistoryComparison } from './compare.ts'
import type { CopyProgress, CopyReport, CopySample, FollowedCopy } from './copy-report.ts'
import { findPlace } from './copy-place.ts'
import { CopySource } from './copy-source.ts'
import { Deriver } from './deriver.ts'
import { Importing } from './import.ts'
import type { Imported } from './recorded.ts'
import { applyTransform, type CopyTransform, type Transformed } from './transform.ts'

export interface CopySettings {
  readonly transform: CopyTransform | undefined
  readonly dryRun: boolean
  readonly samples: number
  readonly onProgress: (progress: CopyProgress) => void
}

/** Copies the log of a store into another one, part after part. */
export class Copier {
  readonly #from: StoreCore
  readonly #to: StoreCore
  readonly #settings: CopySettings
  readonly #source: CopySource
  #importing: Importing
  #deriver: Deriver | undefined
  /** The position in the source up to which everything is done. */
  #at: Position | undefined
  #resumedAfter: Position | undefined
  #hasBegun = false
  /** The position in the source that is aimed at. */
  #head: Position | undefined
  /** What was done by earlier imports of this run, which failed. */
  #earlier = { appended: 0, present: 0, keys: 0, erasures: 0 }
  #counts = { read: 0, changed: 0, dropped: 0 }
  readonly #samples: CopySample[] = []

  constructor(from: StoreCore, to: StoreCore, settings: CopySettings) {
    this.#from = from
    this.#to = to
    this.#settings = settings
    this.#source = new CopySource(from)
    this.#importing = this.#newImport()
  }

  /** Finds its place. @throws ImportConflictError, UnsupportedError */
  async begin(): Promise<void> {
    if (!this.#to.capabilities.imports)
      throw new UnsupportedError('this store does not keep the recorded times of imported events')
    const { transform } = this.#settings
    this.#at = await findPlace(this.#source, this.#to, transform !== undefined)
    if (!this.#hasBegun) this.#resumedAfter = this.#at
    this.#hasBegun = true
    this.#importing = this.#newImport()
    if (transform) this.#deriver = new Deriver(this.#source, this.#to, this.#importing)
  }

  /** Copies up to a position of the source. @throws the signal's reason */
  async copyUpTo(head: Position, signal: AbortSignal | undefined): Promise<void> {
    this.#head = head
    signal?.throwIfAborted()
    if (this.#at !== undefined && head <= this.#at) return
    const importing = this.#importing
    try {
      for await (const page of this.#source.pages(this.#at, head)) {
        signal?.throwIfAborted()
        for (const event of page) {
          const added = this.#settings.transform ? this.#transform(event) : this.#copy(event)
          if (added) {
            await added
            signal?.throwIfAborted()
          }
        }
        if (this.#settings.dryRun) {
          this.#at = page.at(-1)?.position ?? this.#at
          this.#tell()
        }
      }
      await importing.flush()
    } finally {
      await importing.settle()
    }
    this.#at = head
  }

  /** @throws ImportConflictError if the target has deleted a stream, and the source has not. */
  end(): void {
    this.#importing.end()
  }

  progress(): CopyProgress {
    const { appended, present, keys, erasures, position } = this.#importing.report
    const earlier = this.#earlier
    const done = latest(this.#at, position)
    return {
      ...this.#counts,
      appended: earlier.appended + appended,
      present: earlier.present + present,
      keys: earlier.keys + keys,
      erasures: earlier.erasures + erasures,
      position: done,
      fraction: fractionOf(done, this.#head),
    }
  }

  report(comparison: HistoryComparison | undefined): CopyReport {
    return {
      ...this.progress(),
      resumedAfter: this.#resumedAfter,
      samples: [...this.#samples],
      comparison,
    }
  }

  /** Copies until it is stopped. */
  follow(signal: AbortSignal | undefined, interrupted: (error: unknown) => void): FollowedCopy {
    const { ending, stop } = endingWith(signal)
    const listeners = new Set<Listener>()
    let wake: () => void = () => undefined
    const isEnding = () => ending.signal.aborted
    const following = async (): Promise<CopyReport> => {
      let delays = retryDelays(REACH_DELAYS)
      let isPlaced = false
      while (!isEnding()) {
        try {
          if (!isPlaced) await this.begin()
          isPlaced = true
          const awaited = [...listeners]
          const head = await this.#from.logHead()
          const isBehind = head !== undefined && (this.#at === undefined || head > this.#at)
          if (isBehind) await this.copyUpTo(head, ending.signal)
          delays = retryDelays(REACH_DELAYS)
          for (const listener of awaited) {
            listeners.delete(listener)
            listener.resolve(this.report(undefined))
          }
          if (isBehind || listeners.size > 0) continue
          const waiting = endingWith(ending.signal)
          wake = () => {
            waiting.ending.abort()
          }
          await this.#nextChange(waiting.ending.signal).finally(waiting.stop)
        } catch (error) {
          if (isEnding()) break
          if (!isTransient(error) && !(error instanceof OutcomeUnknownError)) throw error
          interrupted(error)
          // What was on its way may have arrived.
          isPlaced = false
          this.#keepCounts()
          await pause(systemClock, delays.next().value, ending.signal)
        }
      }
      return this.report(undefined)
    }
    const unlisten = [this.#from, this.#to].map((core) => core.atClose(() => end().catch(() => undefined)))
    const ended = following().finally(() => {
      stop()
      for (const forget of unlisten) forget()
    })
    ended.then(
      () => {
        for (const { reject } of listeners) reject(new StoreClosedError())
      },
      (error: unknown) => {
        for (const { reject } of listeners) reject(error)
      },
    )
    const end = () => {
      ending.abort()
      return ended
    }
    return {
      ended,
      stop: end,
      caughtUp: () =>
        new Promise((resolve, reject) => {
          const listener = { resolve, reject }
          // If it has ended, its error or the end is told at once.
          if (ending.signal.aborted) void ended.then(resolve, reject)
          else {
            listeners.add(listener)
            ended.catch(reject)
            wake()
          }
        }),
      [Symbol.asyncDispose]: async () => {
        await end()
      },
    }
  }

  #newImport(): Importing {
    return new Importing(
      this.#to,
      () => {
        this.#tell()
      },
      this.#source,
    )
  }

  #keepCounts(): void {
    const { appended, present, keys, erasures } = this.#importing.report
    const earlier = this.#earlier
    this.#earlier = {
      appended: earlier.appended + appended,
      present: earlier.present + present,
      keys: earlier.keys + keys,
      erasures: earlier.erasures + erasures,
    }
    this.#importing = this.#newImport()
  }

  #tell(): void {
    this.#settings.onProgress(this.progress())
  }

  #copy(event: Imported): Promise<void> | undefined {
    this.#counts.read++
    return this.#settings.dryRun ? undefined : this.#importing.add(event)
  }

  async #transform(event: Imported): Promise<void> {
    this.#counts.read++
    const transformed = applyTransform(this.#settings.transform!, event)
    const { before, events, isChanged } = transformed
    if (events.length === 0) this.#counts.dropped++
    else if (isChanged) this.#counts.changed++
    if (isChanged && this.#samples.length < this.#settings.samples) {
      this.#samples.push({ before, after: events.map(shown) })
    }
    if (!this.#settings.dryRun) await this.#deriver!.add(event, transformed)
  }

  /** Resolves when the log of the source has grown, or at the signal. */
  async #nextChange(signal: AbortSignal): Promise<void> {
    const position = this.#at
    const id = position === undefined ? undefined : await this.#from.idAt(position)
    // Of an event that KurrentDB has removed, nothing is left to wait behind.
    if (position !== undefined && id === undefined) return pause(systemClock, POLL_MS, signal)
    const after = position === undefined ? undefined : { position, id: id! }
    const { ending, stop } = endingWith(signal)
    const all = { streams: undefined, categories: undefined, types: undefined }
    const pages = this.#from.subscribe({ ...all, after, signal: ending.signal, interrupted: () => undefined })
    try {
      for (;;) {
        const { done, value } = await pages.next()
        if (done === true) return
        if (value.events.length > 0 || (value.through?.position ?? '') > (position ?? '')) return
      }
    } finally {
      stop()
      ending.abort()
      await pages.return?.()
    }
  }
}

interface Listener {
  readonly resolve: (report: CopyReport) => void
  readonly reject: (error: unknown) => void
}

function shown({
  type,
  data,
  version,
  stream,
  metadata,
}: Transformed['events'][number]): CopySample['after'][number] {
  return {
    type,
    data: JSON.parse(data) as unknown,
    version,
    stream,
    metadata: JSON.parse(metadata) as Record<string, string>,
  }
}

function latest(a: Position | undefined, b: Position | undefined): Position | undefined {
  return b === undefined || (a !== undefined && a > b) ? a : b
}

/** How much of the log lies before a position: those of each store are numbers that grow with the log. */
function fractionOf(done: Position | undefined, head: Position | undefined): number {
  if (head === undefined) return 1
  if (done === undefined) return 0
  const [part, whole] = [done, head].map((position) => Number(/^\d*/.exec(position)![0]))
  return whole! > 0 ? Math.min(1, part! / whole!) : done < head ? 0 : 1
}

/** How often the source is asked, if it cannot tell by itself. */
const POLL_MS = 1_000
