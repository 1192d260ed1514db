import {
  HistoryRewoundError,
  isMnemeError,
  OutcomeUnknownError,
  StoreBusyError,
  StoreTimeoutError,
} from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import { AppendQueue, type Waiting } from './append-queue.ts'
import {
  type CallOptions,
  explain,
  isAnchored,
  isSimple,
  type ServerVerdict,
  serverVerdicts,
  type Known,
  type Lookup,
  parameters,
  simpleVerdict,
  simpleParameters,
} from './append.ts'
import { cancelledWait, type Connections, type Session } from './connection.ts'
import { asMnemeError, causeOf, type Fault, faultOf } from './errors.ts'
import type { History } from './history.ts'
import { FIRST } from './position.ts'
import { APPEND, APPEND_ONE, type Statements } from './statements.ts'
import type { Parameter, Row, Statement } from './wire.ts'

/** How long an append waits. */
export interface AppendSettings {
  /** Milliseconds to wait for streams that others hold. */
  readonly busyTimeout: number
  /** Milliseconds in which it is found out what became of an append whose connection was lost. */
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
    // Two connections are left for reading.
    this.#queue = new AppendQueue(
      (batch, isPatient) => this.#run(batch, isPatient),
      Math.max(1, connections.size - 2),
    )
  }

  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    return this.#queue.append(request, signal)
  }

  /** Makes a call of appends, and gives back those for which something was held by others. */
  async #run(batch: readonly Waiting[], isPatient: boolean): Promise<readonly Waiting[]> {
    // A first attempt that is settled is known by its name, where its revisions do not tell.
    const isNamed = !batch.every(({ request }) => isAnchored(request))
    const attempt: Attempt = {
      isPatient,
      call: isNamed ? crypto.randomUUID() : undefined,
      wait: isPatient ? this.#patienceOf(batch) : undefined,
      after: this.#history.position ?? FIRST,
      started: performance.now(),
    }
    try {
      const { call, wait } = attempt
      return await this.#conclude(batch, await this.#send(requestsOf(batch), { call, wait }))
    } catch (error) {
      return this.#failed(batch, error, attempt)
    }
  }

  async #failed(batch: readonly Waiting[], error: unknown, attempt: Attempt): Promise<readonly Waiting[]> {
    const { isPatient, call, after, started } = attempt
    if (isInDoubt(error)) {
      const until = performance.now() + this.#settings.settleTimeout
      return this.#settle(batch, { error, until, call: call ?? crypto.randomUUID(), after })
    }
    const fault = isMnemeError(error) ? undefined : faultOf(error)
    if (batch.length > 1 && (fault === 'refused' || fault === 'cancelled')) {
      // It was undone. Whichever of them it was, or however many were too many: it is found by halving.
      if (fault === 'cancelled') this.#queue.shrinkTo(batch.length >> 1)
      const [first, second] = halvesOf(batch)
      const held = await this.#run(first, isPatient)
      return [...held, ...(await this.#run(second, isPatient))]
    }
    for (const { reject, heldSince = started } of batch) {
      const waited = performance.now() - heldSince
      reject(fault === 'locked' ? new StoreBusyError(waited, { cause: causeOf(error) }) : asMnemeError(error))
    }
    return []
  }

  /** Milliseconds that the most patient of them still waits for others. */
  #patienceOf(batch: readonly Waiting[]): number {
    const now = performance.now()
    const left = batch.map(({ heldSince = now }) => this.#settings.busyTimeout - (now - heldSince))
    return Math.max(1, Math.ceil(Math.max(...left)))
  }

  /** Sends appends, as often as that is sure to have had no effect. @throws what the driver throws. */
  async #send(requests: readonly AppendRequest[], options: CallOptions): Promise<readonly ServerVerdict[]> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#connections.use((session) => this.#sendOn(session, requests, options))
      } catch (error) {
        if (isMnemeError(error) || attempt >= 5 || !this.#isWithoutEffect(faultOf(error), error)) throw error
      }
    }
  }

  /** Whether the same call may succeed now. Of several calls at once each may find out what stood in its way. */
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
    const row = await this.#commit(session, this.#statements.of(APPEND), parameters(requests, options))
    return serverVerdicts(requests, row)
  }

  /** One statement, which commits by itself where the default isolation allows it. */
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
   * Finds out what became of appends whose connection was lost, or makes them now. Behind the streams' locks that
   * waits for a first attempt that is still on its way in the server; one that comes later finds it settled.
   */
  async #settle(batch: readonly Waiting[], doubt: Doubt): Promise<readonly Waiting[]> {
    const { call, after, until, error: cause } = doubt
    for (let pause = 10; performance.now() < until; pause = Math.min(pause * 2, 500)) {
      try {
        const options = { call, after, wait: this.#settings.busyTimeout }
        return await this.#conclude(batch, await this.#send(requestsOf(batch), options), doubt)
      } catch (error) {
        if (error instanceof OutcomeUnknownError) {
          for (const { reject } of batch) reject(error)
          return []
        }
        if (batch.length > 1 && !isMnemeError(error) && faultOf(error) !== 'disconnected') {
          const [first, second] = halvesOf(batch)
          const held = await this.#settle(first, doubt)
          return [...held, ...(await this.#settle(second, doubt))]
        }
        if (error instanceof HistoryRewoundError) break
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
    const unknown = new OutcomeUnknownError(LOST, { cause: isMnemeError(cause) ? cause : causeOf(cause) })
    for (const { reject } of batch) reject(unknown)
    return []
  }

  /** Tells the callers; gives back the appends that were not judged because something was held. */
  #conclude(
    batch: readonly Waiting[],
    serverVerdicts: readonly ServerVerdict[],
    doubt?: Doubt,
  ): readonly Waiting[] | Promise<readonly Waiting[]> {
    const held: Waiting[] = []
    const again: Waiting[] = []
    const known: (Known & { readonly waiting: Waiting })[] = []
    for (let i = 0; i < batch.length; i++) {
      const waiting = batch[i]!
      const verdict = serverVerdicts[i]!
      if (verdict.kind === 'verdict') this.#tell(waiting, verdict.verdict)
      else if (verdict.kind === 'settled') {
        waiting.reject(new OutcomeUnknownError('this attempt came after it had been settled'))
      } else if (verdict.kind === 'unjudged') (verdict.isBusy ? held : again).push(waiting)
      else known.push({ waiting, request: waiting.request, verdict })
    }
    return known.length + again.length === 0 ? held : this.#finish(known, again, doubt).then(() => held)
  }

  /** Reads what is needed for verdicts on appends that wrote nothing; judges anew what hung on others. */
  async #finish(
    known: readonly (Known & { readonly waiting: Waiting })[],
    again: readonly Waiting[],
    doubt: Doubt | undefined,
  ): Promise<void> {
    const lookup: Lookup = (sql, values) => this.#connections.ask(this.#statements.of(sql), values)
    for (let i = 0; i < known.length; i += EXPLAINED) {
      const some = known.slice(i, i + EXPLAINED)
      try {
        const verdicts = await explain(some, lookup)
        some.forEach(({ waiting }, n) => {
          const verdict = verdicts[n]!
          this.#tell(waiting, doubt ? asFirstAttempt(verdict, doubt.after) : verdict)
        })
      } catch (cause) {
        const error = doubt ? new OutcomeUnknownError(LOST, { cause }) : cause
        for (const { waiting } of some) waiting.reject(error)
      }
    }
    for (const waiting of again) await this.#run([waiting], true)
  }

  #tell(waiting: Waiting, verdict: AppendVerdict): void {
    const last = lastOf(waiting.request, verdict)
    if (last) this.#history.saw(last)
    if (last && verdict.kind === 'appended') this.#appended()
    waiting.resolve(verdict)
  }
}

/** A call of appends that is made. */
interface Attempt {
  readonly isPatient: boolean
  readonly call: string | undefined
  readonly wait: number | undefined
  /** A position that it can only lie above. */
  readonly after: Position
  readonly started: number
}

/** What is to be found out about. */
interface Doubt {
  readonly error: unknown
  /** When that is given up. */
  readonly until: number
  /** The first attempt's name. */
  readonly call: string
  /** A position that it can only lie above. */
  readonly after: Position
}

function requestsOf(batch: readonly Waiting[]): AppendRequest[] {
  return batch.map(({ request }) => request)
}

function halvesOf(batch: readonly Waiting[]): [Waiting[], Waiting[]] {
  const half = batch.length >> 1
  return [batch.slice(0, half), batch.slice(half)]
}

/** Whether it was sent, and nobody knows what became of it. */
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

const LOST = 'the connection was lost while appending, and what became of it could not be found out'
/** How many repeats are looked up at once. */
const EXPLAINED = 32
