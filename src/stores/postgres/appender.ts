import { pause, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import {
  HistoryRewoundError,
  isMnemeError,
  OutcomeUnknownError,
  StoreBusyError,
  StoreTimeoutError,
} from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { AppendRequest, AppendVerdict, EraseRequest, EraseVerdict } from '../../adapter/store-adapter.ts'
import { AppendQueue, claimsOf, isKeyClaim, type QueuedAppend } from '../../adapter/append-queue.ts'
import {
  type CallOptions,
  expectedNumber,
  explain,
  isAnchored,
  isSimple,
  type ServerVerdict,
  serverVerdicts,
  type Known,
  type Lookup,
  parameters,
  recordedTimes,
  revisionOf,
  simpleVerdict,
  simpleParameters,
} from './append.ts'
import type { Connections } from './connection.ts'
import { cancelledWait, type Session } from './session.ts'
import { asMnemeError, causeOf, type Fault, faultOf } from './errors.ts'
import type { History } from './history.ts'
import { EVENTS_PER_NUMBER, FIRST, positionOf } from './position.ts'
import { APPEND, APPEND_AT, APPEND_ONE, ERASE, type Statements } from './statements.ts'
import { type Parameter, type Row, type Statement, texts } from './wire.ts'

/** How long an append waits. */
export interface AppendSettings {
  /** Milliseconds to wait for locks of other writers. */
  readonly busyTimeout: number
  /** Milliseconds in which an append whose connection was lost is settled. */
  readonly settleTimeout: number
}

/** Appends by the schema's functions: one round trip a call. */
export class Appender {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #settings: AppendSettings
  readonly #queue: AppendQueue
  readonly #history: History
  /** Whether calls need a transaction that says READ COMMITTED. */
  #isExplicit = false
  readonly #appended: () => void

  /** @param appended is called whenever something was committed. */
  constructor(
    connections: Connections,
    statements: Statements,
    history: History,
    settings: AppendSettings,
    appended: () => void,
  ) {
    this.#connections = connections
    this.#statements = statements
    this.#history = history
    this.#settings = settings
    this.#appended = appended
    this.#queue = new AppendQueue((batch, isPatient) => this.#call(batch, isPatient), {
      // Two connections are left for reading.
      maxCalls: Math.max(1, connections.size - 2),
      maxAppendsPerCall: MAX_APPENDS_PER_CALL,
      maxEventsPerCall: EVENTS_PER_NUMBER,
      claimsOf,
      mayShare: (_, claim) => !isKeyClaim(claim),
      isAlone: () => false,
    })
  }

  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    return this.#queue.append(request, signal)
  }

  /** Truncates or deletes a stream. @throws OutcomeUnknownError if the connection was lost: it may be called again */
  async erase(request: EraseRequest): Promise<EraseVerdict> {
    const { stream, before, expected, notice } = request
    const wait = this.#settings.busyTimeout
    const values: Parameter[] = [
      texts([stream, notice.stream].sort()),
      ...[
        stream,
        before === undefined ? null : String(before),
        String(expectedNumber(expected)),
        String(wait),
      ],
      ...[notice.stream, notice.id, notice.type, notice.data, notice.metadata],
      notice.time === undefined ? null : String(Date.parse(notice.time)),
    ]
    try {
      const row = await this.#resending(() =>
        this.#connections.use((session) => this.#commit(session, this.#statements.of(ERASE), values)),
      )
      const [verdict, head, number] = row.map(Number) as [number, number, number]
      switch (verdict) {
        case 0:
          return { kind: 'conflict', stream, expected, actual: revisionOf(head) }
        case 2:
          return { kind: 'beyond', head: revisionOf(head) }
        case 3:
          return { kind: 'unchanged' }
        case 4:
          return { kind: 'erased', stream, firstRevision: undefined }
      }
      const position = positionOf(number, 1)
      this.#history.saw({ position, id: notice.id })
      this.#appended()
      return { kind: 'done', position }
    } catch (error) {
      if (isInDoubt(error)) throw new OutcomeUnknownError(ERASED_IN_DOUBT, { cause: causeOf(error) })
      if (isMnemeError(error) || faultOf(error) !== 'locked') throw asMnemeError(error)
      throw new StoreBusyError(wait, { cause: causeOf(error) })
    }
  }

  /** Makes a call of appends, and returns those that are to be sent again. */
  async #call(batch: readonly QueuedAppend[], isPatient: boolean): Promise<readonly QueuedAppend[]> {
    // The name by which a first attempt is recognised when it is settled, if revisions do not show it.
    const isNamed = !batch.every(({ request }) => isAnchored(request))
    const call = isNamed ? environment.uuid() : undefined
    const wait = isPatient ? this.#patienceOf(batch) : undefined
    const after = this.#history.position ?? FIRST
    const started = environment.now()
    try {
      return await this.#conclude(batch, await this.#send(requestsOf(batch), { call, wait }))
    } catch (error) {
      if (isInDoubt(error)) {
        const until = environment.now() + this.#settings.settleTimeout
        return this.#settle(batch, { error, until, call: call ?? environment.uuid(), after })
      }
      const fault = isMnemeError(error) ? undefined : faultOf(error)
      if (batch.length > 1 && (fault === 'refused' || fault === 'cancelled')) {
        // It was undone, because of one of them or because they are too many: smaller calls find out.
        const half = batch.length >> 1
        if (fault === 'cancelled') this.#queue.shrinkTo(half)
        for (const append of batch) append.maxCallSize = half
        return batch
      }
      for (const { reject, heldSince = started } of batch) {
        const waited = environment.now() - heldSince
        reject(
          fault === 'locked' ? new StoreBusyError(waited, { cause: causeOf(error) }) : asMnemeError(error),
        )
      }
      return []
    }
  }

  /** Milliseconds that the most patient of them still waits for locks. */
  #patienceOf(batch: readonly QueuedAppend[]): number {
    const now = environment.now()
    const left = batch.map(({ heldSince = now }) => this.#settings.busyTimeout - (now - heldSince))
    return Math.max(1, Math.ceil(Math.max(...left)))
  }

  /** Sends appends. @throws what the driver throws. */
  #send(requests: readonly AppendRequest[], options: CallOptions): Promise<readonly ServerVerdict[]> {
    return this.#resending(() => this.#connections.use((session) => this.#sendOn(session, requests, options)))
  }

  /** Sends a call, again if the attempt certainly had no effect. @throws what the driver throws. */
  async #resending<T>(send: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await send()
      } catch (error) {
        if (isMnemeError(error) || attempt >= MAX_RESENDS || !this.#isWithoutEffect(faultOf(error), error))
          throw error
      }
    }
  }

  /** Whether the same call may succeed now. Several calls at once may each find the reason. */
  #isWithoutEffect(fault: Fault, error: unknown): boolean {
    if (fault === 'isolation') this.#isExplicit = true
    return fault === 'isolation' || fault === 'transient' || this.#connections.isUnprepared(error)
  }

  async #sendOn(
    session: Session,
    requests: readonly AppendRequest[],
    options: CallOptions,
  ): Promise<readonly ServerVerdict[]> {
    if (requests.length === 1 && options.wait !== undefined && options.after === undefined) {
      const [request] = requests
      if (isSimple(request!)) {
        const values = simpleParameters(request!, options.call, options.wait)
        const row = await this.#commit(session, this.#statements.of(APPEND_ONE), values)
        const verdict = simpleVerdict(request!, row)
        if (verdict) return [verdict]
      }
    }
    const times = recordedTimes(requests)
    const values = parameters(requests, options)
    const row = times
      ? await this.#commit(session, this.#statements.of(APPEND_AT), [...values, times])
      : await this.#commit(session, this.#statements.of(APPEND), values)
    return serverVerdicts(requests, row)
  }

  /** One statement, which commits by itself if the default isolation is READ COMMITTED. */
  async #commit(session: Session, statement: Statement, values: readonly Parameter[]): Promise<Row> {
    const isExplicit = this.#isExplicit
    if (isExplicit) await session.query(this.#statements.of('BEGIN ISOLATION LEVEL READ COMMITTED'))
    try {
      const [row] = await session.query(statement, values)
      if (isExplicit) await session.query(this.#statements.of('COMMIT'))
      if (session.isWarned) throw cancelledWait(session)
      return row!
    } catch (error) {
      if (isExplicit && !session.broken) await session.query(this.#statements.of('ROLLBACK'))
      throw error
    }
  }

  /**
   * Finds out what became of appends whose connection was lost, or makes them now. The attempt takes the streams' locks,
   * and so waits for a first attempt that is still running in the server; one that arrives later finds it settled.
   */
  async #settle(batch: readonly QueuedAppend[], doubt: Doubt): Promise<readonly QueuedAppend[]> {
    const { call, after, until, error: cause } = doubt
    const again: QueuedAppend[] = []
    const groups = [batch]
    let delay = MIN_SETTLE_PAUSE_MS
    while (groups.length > 0 && environment.now() < until) {
      const group = groups.shift()!
      try {
        const options = { call, after, wait: this.#settings.busyTimeout }
        again.push(...(await this.#conclude(group, await this.#send(requestsOf(group), options), doubt)))
        delay = MIN_SETTLE_PAUSE_MS
      } catch (error) {
        if (error instanceof OutcomeUnknownError) {
          for (const { reject } of group) reject(error)
        } else if (group.length > 1 && !isMnemeError(error) && faultOf(error) !== 'disconnected') {
          groups.unshift(...halvesOf(group))
        } else {
          groups.unshift(group)
          if (error instanceof HistoryRewoundError) break
          await pause(systemClock, delay)
          delay = Math.min(delay * 2, MAX_SETTLE_PAUSE_MS)
        }
      }
    }
    const unknown = new OutcomeUnknownError(LOST, { cause: isMnemeError(cause) ? cause : causeOf(cause) })
    for (const { reject } of groups.flat()) reject(unknown)
    return again
  }

  /** Tells the callers what the server said; returns the appends that it did not judge. */
  async #conclude(
    batch: readonly QueuedAppend[],
    serverVerdicts: readonly ServerVerdict[],
    doubt?: Doubt,
  ): Promise<readonly QueuedAppend[]> {
    const again: QueuedAppend[] = []
    const known: (Known & { readonly append: QueuedAppend })[] = []
    for (let i = 0; i < batch.length; i++) {
      const append = batch[i]!
      const verdict = serverVerdicts[i]!
      if (verdict.kind === 'verdict') this.#tell(append, verdict.verdict)
      else if (verdict.kind === 'settled') {
        append.reject(new OutcomeUnknownError('this attempt arrived after the append had been settled'))
      } else if (verdict.kind === 'unjudged') {
        if (verdict.isBusy) {
          append.isContended = true
          append.heldSince ??= environment.now()
        } else append.maxCallSize = 1
        again.push(append)
      } else known.push({ append, request: append.request, verdict })
    }
    if (known.length > 0) await this.#explain(known, doubt)
    return again
  }

  /** Reads what is needed for verdicts on appends that wrote nothing. */
  async #explain(
    known: readonly (Known & { readonly append: QueuedAppend })[],
    doubt: Doubt | undefined,
  ): Promise<void> {
    const lookup: Lookup = (sql, values) => this.#connections.ask(this.#statements.of(sql), values)
    for (let i = 0; i < known.length; i += MAX_REPEATS_PER_LOOKUP) {
      const some = known.slice(i, i + MAX_REPEATS_PER_LOOKUP)
      try {
        const verdicts = await explain(some, lookup)
        some.forEach(({ append }, n) => {
          const verdict = verdicts[n]!
          this.#tell(append, doubt ? asFirstAttempt(verdict, doubt.after) : verdict)
        })
      } catch (cause) {
        const error = doubt ? new OutcomeUnknownError(LOST, { cause }) : cause
        for (const { append } of some) append.reject(error)
      }
    }
  }

  #tell(append: QueuedAppend, verdict: AppendVerdict): void {
    const last = lastOf(append.request, verdict)
    if (last) this.#history.saw(last)
    if (last && verdict.kind === 'appended') this.#appended()
    append.resolve(verdict)
  }
}

/** An append whose outcome is unknown. */
interface Doubt {
  readonly error: unknown
  /** When settling is given up, as `environment.now()` counts. */
  readonly until: number
  /** The first attempt's name. */
  readonly call: string
  /** A position below all of its events. */
  readonly after: Position
}

function requestsOf(batch: readonly QueuedAppend[]): AppendRequest[] {
  return batch.map(({ request }) => request)
}

function halvesOf(batch: readonly QueuedAppend[]): [QueuedAppend[], QueuedAppend[]] {
  const half = batch.length >> 1
  return [batch.slice(0, half), batch.slice(half)]
}

/** Whether a call was sent and its outcome is unknown. */
function isInDoubt(error: unknown): boolean {
  return error instanceof StoreTimeoutError || (!isMnemeError(error) && faultOf(error) === 'disconnected')
}

/** What was appended by the very attempt that is settled is no repeat. */
function asFirstAttempt(verdict: AppendVerdict, after: Position): AppendVerdict {
  if (verdict.kind !== 'repeated' || verdict.events.some(({ position }) => position <= after)) return verdict
  return {
    kind: 'appended',
    revisions: verdict.events.map(({ revision }) => revision),
    positions: verdict.events.map(({ position }) => position),
    time: verdict.events[0]!.time,
    heads: verdict.heads,
  }
}

/** The last event that a verdict speaks of. */
function lastOf(
  { events }: AppendRequest,
  verdict: AppendVerdict,
): { readonly position: Position; readonly id: string } | undefined {
  if (verdict.kind === 'appended') {
    const position = verdict.positions.at(-1)
    return position === undefined ? undefined : { position, id: events.at(-1)!.id }
  }
  return verdict.kind === 'repeated'
    ? verdict.events.at(-1)
    : verdict.kind === 'used'
      ? verdict.uses.at(-1)?.events.at(-1)
      : undefined
}

const ERASED_IN_DOUBT =
  'the connection was lost while erasing, and what became of it is not known: call it again'
const LOST = 'the connection was lost while appending, and what became of it could not be found out'
/** Repeats that are looked up at once. */
const MAX_REPEATS_PER_LOOKUP = 32
const MAX_APPENDS_PER_CALL = 256
const MAX_RESENDS = 5
/** Milliseconds between two attempts to settle an append; doubled each time, up to the maximum. */
const MIN_SETTLE_PAUSE_MS = 10
const MAX_SETTLE_PAUSE_MS = 500
