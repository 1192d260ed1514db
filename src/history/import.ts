import { checkIterable, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { ConflictError, ImportConflictError, StreamDeletedError, UnsupportedError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import type { Position, Revision } from '../base/revision.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import type { AppendVerdict, KeyClaim, KeyUse, NewEvent, StoredEvent } from '../adapter/store-adapter.ts'
import { ERASURES_STREAM, erasures, tellsOfErasures } from '../model/erasures.ts'
import { ofErasures, streamName } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import { erasedError } from '../store/erasing.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { ImportBatch, isBehind, requestOf } from './import-batch.ts'
import { checkImported, differenceOf, type ExportedEvent, type Imported } from './recorded.ts'

/** Options of `importEvents`. */
export interface ImportOptions {
  /** Ends it between two batches, with its reason. What was imported stays, and another run goes on. */
  readonly signal?: AbortSignal | undefined
  /** Called after each batch. */
  readonly onProgress?: ((progress: ImportReport) => void) | undefined
}

/** What an import has done so far. */
export interface ImportReport {
  /** Events that were appended. */
  readonly appended: number
  /** Events that were there already, and are the same. */
  readonly present: number
  /** Idempotency keys that were kept, or were there already. */
  readonly keys: number
  /** Streams that were truncated or deleted, as the input tells. */
  readonly erasures: number
  /** The position of the last event in the store that it comes from, if it has one. */
  readonly position: Position | undefined
}

/**
 * Imports events with everything that was recorded of them: id, time, version, metadata, idempotency keys. They come in the
 * order of the store that they come from, as `exportEvents`, `readAll` or `eventsInArchive` give them; truncations and deletions
 * among them are repeated.
 *
 * An import can be repeated, and resumed from any earlier event: what is there already is compared, and nothing is written
 * twice. Events of one append come in one append.
 *
 * @throws ImportConflictError if the store has other events, or keys, than the input.
 * @throws InvalidArgumentError, InvalidDataError, LimitError if an event is wrong; UnsupportedError, and the errors of `append`.
 * @example
 * ```ts
 * import { exportEvents, importEvents } from 'mneme/history'
 * import { openStore } from 'mneme'
 *
 * const [from, to] = [await openStore('sqlite:bank.db'), await openStore('postgres://localhost/bank')]
 * await importEvents(to, exportEvents(from))
 * ```
 */
export async function importEvents(
  store: EventStore,
  events: AsyncIterable<ExportedEvent> | Iterable<ExportedEvent>,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const core = coreOf(store)
  checkIterable(
    events,
    'events',
    'a list of recorded events, or what exportEvents or eventsInArchive returned',
  )
  checkOptions(options, 'options', ['signal', 'onProgress'])
  const signal = checkSignal(options.signal)
  const { onProgress = () => undefined } = options
  checkFunction(onProgress, 'onProgress')
  const { capabilities } = core
  if (!capabilities.imports)
    throw new UnsupportedError('this store does not keep the recorded times of imported events')
  const importing = new Importing(core, onProgress)
  let index = 0
  try {
    for await (const given of events) {
      signal?.throwIfAborted()
      await importing.add(checkImported(given, index++))
    }
    signal?.throwIfAborted()
    await importing.flush()
  } finally {
    await importing.settle()
  }
  return importing.end()
}

/** What a copy knows of the store that the events come from. */
export interface ImportSource {
  /** Whether the events of a stream before a revision were erased there. */
  isErased(stream: string, revision: number): Promise<boolean>
}

/** Appends what is imported, a batch at a time: while one is on its way, the next one is collected. */
export class Importing {
  readonly #core: StoreCore
  readonly #tell: (progress: ImportReport) => void
  /** Set if the input is all of a store: then what is missing in it, and was erased there, is skipped. */
  readonly #source: ImportSource | undefined
  #batch: ImportBatch
  /** The batch that is on its way. */
  #sent: Promise<void> | undefined
  /** Streams of the input that are deleted in the store, and of whose deletion the input has not told yet. */
  readonly #deleted = new Set<string>()
  #report: ImportReport = { appended: 0, present: 0, keys: 0, erasures: 0, position: undefined }

  constructor(core: StoreCore, tell: (progress: ImportReport) => void, source?: ImportSource) {
    this.#core = core
    this.#tell = tell
    this.#source = source
    this.#batch = new ImportBatch(core.capabilities.severalStreams)
  }

  /** @throws ImportConflictError if a stream is deleted in the store, and the input does not tell of it. */
  end(): ImportReport {
    const [deleted] = this.#deleted
    if (deleted !== undefined)
      throw new ImportConflictError(deleted, 0, 'the stream was deleted in the store, and not in the input')
    return this.#report
  }

  /** What has been done so far. */
  get report(): ImportReport {
    return this.#report
  }

  /** Takes an event; if it returns a promise, wait for it before the next one. */
  add(event: Imported): Promise<void> | undefined {
    if (event.position !== undefined) this.#batch.reach(event.position)
    const isErasure = event.stream === ERASURES_STREAM
    const isBehindGap = this.#source !== undefined && this.#batch.lacksEventsBefore(event)
    if (isErasure || isBehindGap || this.#batch.isFullFor(event)) return this.#addToNext(event, isBehindGap)
    this.#batch.add(event)
    return undefined
  }

  /** Sees to it that events which must not be parted come in one append. @returns whether they can */
  async makeRoomFor(events: readonly Pick<Imported, 'stream' | 'bytes'>[]): Promise<boolean> {
    if (this.#batch.fits(events)) return true
    await this.flush()
    return this.#batch.fits(events)
  }

  /** Everything up to a position has been added, or was left out. */
  pass(position: Position): void {
    this.#batch.pass(position)
  }

  async #addToNext(event: Imported, isBehindGap: boolean): Promise<void> {
    // The rest of an append with a key may have been erased while it was read.
    if (isBehindGap) this.#batch.endKeys()
    const open = this.#batch.takeOpen()
    await this.flush()
    for (const earlier of open) this.#batch.add(earlier)
    if (event.stream !== ERASURES_STREAM) {
      this.#batch.add(event)
      return
    }
    await this.settle()
    await this.#during(() => this.#erase(event))
  }

  /** Sends the batch, once the one before it is there. @throws the error of the one before it */
  async flush(): Promise<void> {
    const batch = this.#batch
    const { events, keys } = batch
    if (events.length === 0) return
    this.#batch = new ImportBatch(this.#core.capabilities.severalStreams)
    if (keys.length > 0 && !this.#core.capabilities.keys)
      throw new UnsupportedError('this store keeps no idempotency keys, and the input has some')
    await this.settle()
    this.#sent = this.#send(batch)
    // It is told by the next call.
    this.#sent.catch(() => undefined)
  }

  /** Waits for the batch that is on its way. @throws its error, once */
  async settle(): Promise<void> {
    const sent = this.#sent
    this.#sent = undefined
    await sent
  }

  async #send(batch: ImportBatch): Promise<void> {
    const { events, keys } = batch
    const appended = await this.#during(() => this.#import(batch))
    const position = events.at(-1)!.position ?? this.#report.position
    this.#report = {
      ...this.#report,
      appended: this.#report.appended + appended,
      present: this.#report.present + events.length - appended,
      keys: this.#report.keys + keys.length,
      position,
    }
    this.#tell(this.#report)
  }

  /** @returns how many events were appended. */
  async #import(batch: ImportBatch): Promise<number> {
    const { events } = batch
    const verdict = await this.#append(batch.request())
    switch (verdict.kind) {
      case 'appended':
        return events.length
      case 'repeated':
        verdict.events.forEach((stored, i) => {
          compare(stored, events[i]!)
        })
        // The keys are judged first, so none of them was kept with these events.
        if (batch.keys.length > 0) throw withoutKey(batch.keys[0]!, events)
        return 0
      case 'erased':
      case 'conflict':
      case 'used':
        return this.#importRest(batch)
    }
  }

  /** Imports what is not there yet. @returns how many events that was. */
  async #importRest(batch: ImportBatch): Promise<number> {
    const { events, keys } = batch
    const heads = await this.#headsOf(events)
    const isPresent = (event: Imported) => isBehind(heads.get(event.stream)!, event)
    await this.#compareStored(events.filter(isPresent))
    const missing = events.filter((event) => !isPresent(event))
    const claims: KeyClaim[] = []
    for (const claim of keys) {
      const own = events.slice(claim.first, claim.first + claim.count)
      const first = missing.indexOf(own[0]!)
      if (first >= 0) claims.push({ ...claim, first })
      else await this.#compareKey(claim, own)
    }
    if (missing.length === 0) return 0
    const verdict = await this.#append(requestOf(missing, claims))
    switch (verdict.kind) {
      case 'appended':
        return missing.length
      case 'used':
        throw keyOfOthers(verdict.uses[0]!, events)
      case 'conflict': {
        const event = missing.find(({ stream }) => stream === verdict.stream)!
        if (await this.#skipErased(event, verdict.actual)) return this.#importRest(batch)
        const head =
          verdict.actual === 'none' ? 'has no events' : `ends at revision ${String(verdict.actual)}`
        throw new ImportConflictError(verdict.stream, event.revision, `the stream ${head} in the store`)
      }
      case 'erased':
        throw erasedError(verdict)
      case 'repeated':
        return 0
    }
  }

  /** Skips what was erased in the source before it could be imported. @returns whether there was anything to skip. */
  async #skipErased({ stream, revision }: Imported, head: Revision): Promise<boolean> {
    if (!this.#source || nextRevision(head) >= revision) return false
    if (!(await this.#source.isErased(stream, revision))) return false
    const { adapter, capabilities } = this.#core
    if (!adapter.skip || !capabilities.truncation)
      throw new UnsupportedError(
        'this store cannot keep a stream without its beginning, and the input has one',
      )
    const verdict = await adapter.skip({ stream, expected: head, before: revision })
    if (verdict.kind === 'erased') throw erasedError(verdict)
    // If it is a conflict, another import was faster.
    return true
  }

  /** Of a stream that was deleted since, all events were there. */
  async #headsOf(events: readonly Imported[]): Promise<Map<string, Revision>> {
    const streams = [...new Set(events.map(({ stream }) => stream))]
    const known = new Map<string, Revision>()
    for (;;) {
      const asked = streams.filter((stream) => !known.has(stream))
      try {
        const heads = asked.length > 0 ? await this.#core.heads(asked) : []
        for (const [i, stream] of asked.entries()) known.set(stream, heads[i]!)
        return known
      } catch (error) {
        if (!(error instanceof StreamDeletedError)) throw error
        known.set(error.stream, Infinity)
        this.#deleted.add(error.stream)
      }
    }
  }

  /** Compares events with what is stored at their revisions; of what was erased since, nothing is left to compare. */
  async #compareStored(events: readonly Imported[]): Promise<void> {
    const byStream = new Map<string, Imported[]>()
    for (const event of events) {
      const own = byStream.get(event.stream)
      if (own) own.push(event)
      else byStream.set(event.stream, [event])
    }
    for (const [stream, own] of byStream) {
      if (this.#deleted.has(stream)) continue
      const [from, to] = [own[0]!.revision, own.at(-1)!.revision]
      const request = { stream, direction: 'forwards', from, to, limit: undefined } as const
      for await (const page of this.#core.read(request))
        for (const stored of page) compare(stored, own[stored.revision - from]!)
    }
  }

  /** Compares a key whose events are there. */
  async #compareKey(claim: KeyClaim, events: readonly Imported[]): Promise<void> {
    const conditions = [{ stream: events[0]!.stream, expected: 'any' }] as const
    const verdict = await this.#append({ conditions, events: [], keys: [claim], ids: 'made' })
    if (verdict.kind === 'erased') return
    if (verdict.kind !== 'used') throw withoutKey(claim, events)
    const [use] = verdict.uses
    const isSame =
      use!.fingerprint === claim.fingerprint &&
      // Of an append of which some events were erased in the source, the input has the rest.
      events.every(({ id }) => use!.events.some((stored) => stored.id === id))
    if (!isSame) throw keyOfOthers(use!, events)
  }

  /** Truncates or deletes a stream as in the store that the events come from. */
  async #erase(notice: Imported): Promise<void> {
    const isTruncation = notice.type === erasures.StreamTruncated.type
    const isKnown = isTruncation || notice.type === erasures.StreamDeleted.type
    if (!isKnown || !this.#core.capabilities.truncation) {
      throw new UnsupportedError(
        isKnown
          ? 'this store does not truncate or delete streams, and the input has streams that were'
          : `events of the type ${notice.type} cannot be imported: their stream belongs to the store`,
      )
    }
    const given = JSON.parse(notice.data) as { readonly stream?: unknown; readonly before?: unknown }
    const stream = streamName(given.stream as string, `data.stream of event ${notice.id}`)
    if (tellsOfErasures(stream)) throw ofErasures()
    const before = isTruncation
      ? checkWhole(given.before as number, `data.before of event ${notice.id}`, 0)
      : undefined
    const { id, type, version, data, metadata, time } = notice
    const told = { stream: ERASURES_STREAM, id, type, version, data, metadata, time }
    const isThere = this.#source !== undefined && (await this.#hasNotice(notice))
    if (
      isThere &&
      (isTruncation || (await this.#headsOf([{ ...notice, stream }])).get(stream) === Infinity)
    ) {
      this.#deleted.delete(stream)
      this.#tellErasure(notice)
      return
    }
    const erase = () => this.#core.erase({ stream, before, expected: 'any', notice: told })
    let verdict = await erase()
    if (
      verdict.kind === 'beyond' &&
      (await this.#skipErased({ ...notice, stream, revision: before! }, verdict.head))
    )
      verdict = await erase()
    if (verdict.kind === 'beyond')
      throw new ImportConflictError(stream, before!, 'the input tells of a truncation behind its last event')
    if (verdict.kind === 'conflict') throw new ConflictError(verdict)
    if (verdict.kind === 'erased') this.#deleted.add(stream)
    if (!isTruncation) this.#deleted.delete(stream)
    // What was skipped has no notice yet.
    if (this.#source && !isThere && verdict.kind !== 'done') await this.#appendNotice(notice, told)
    this.#tellErasure(notice)
  }

  /** Whether a notice is in the store. @throws ImportConflictError if another one is there */
  async #hasNotice(notice: Imported): Promise<boolean> {
    const [head] = await this.#core.heads([ERASURES_STREAM])
    if (!isBehind(head!, notice)) return false
    await this.#compareStored([notice])
    return true
  }

  async #appendNotice({ revision }: Imported, told: NewEvent): Promise<void> {
    const expected = revision === 0 ? 'none' : revision - 1
    const conditions = [{ stream: ERASURES_STREAM, expected } as const]
    // Programs may not append to this stream, but this event was appended by a store.
    const verdict = await this.#core.adapter.append({ conditions, events: [told], keys: [], ids: 'given' })
    if (verdict.kind === 'conflict') throw new ConflictError(verdict)
  }

  #tellErasure(notice: Imported): void {
    const { position = this.#report.position } = notice
    this.#report = { ...this.#report, erasures: this.#report.erasures + 1, position }
    this.#tell(this.#report)
  }

  #append(request: Parameters<StoreCore['commit']>[0]): Promise<AppendVerdict> {
    return this.#core.commit(request)
  }

  async #during<T>(work: () => Promise<T>): Promise<T> {
    this.#core.enter()
    try {
      return await work()
    } finally {
      this.#core.leave()
    }
  }
}

/** @throws ImportConflictError */
function compare(stored: StoredEvent, imported: Imported): void {
  const difference = stored.version === 0 ? undefined : differenceOf(stored, imported)
  if (difference === undefined) return
  const { stream, revision } = imported
  const what = difference === 'id' ? 'another event' : `the same event with another ${difference}`
  throw new ImportConflictError(stream, revision, `the store has ${what} there`)
}

function withoutKey({ key }: KeyClaim, [first]: readonly Imported[]): ImportConflictError {
  const { stream, revision } = first!
  return new ImportConflictError(stream, revision, `the event is there, but not its idempotency key '${key}'`)
}

function keyOfOthers({ key }: KeyUse, [first]: readonly Imported[]): ImportConflictError {
  const { stream, revision } = first!
  return new ImportConflictError(
    stream,
    revision,
    `the store has the idempotency key '${key}' for other events`,
  )
}
