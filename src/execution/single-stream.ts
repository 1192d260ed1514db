import { checkEvents, type EncodedEvent } from '../store/encode.ts'
import type { Conflict } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'
import { appendDecisions, type Candidate } from './append-decisions.ts'
import { backOff, type Call, type Decided } from './call.ts'
import type { ExecutionContext } from './context.ts'
import { evolve, type FoldedState, foldStream, see } from './fold.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import { limits } from '../base/limits.ts'
import { streamEventOfNew } from '../store/decode.ts'
import { placeOnOne } from './boundary.ts'
import { environment } from '../base/environment.ts'

/**
 * The commands of this process that wait for one stream. They are decided in sequence, each on the state that the command
 * before it left, and appended together under one expectation. The append succeeds as a whole, or all commands are decided
 * again: a decision that depends on another command's uncommitted event must fail with it. Nothing is reported before
 * everything it depends on is committed.
 */
export class SingleStreamDecisions {
  readonly #context: ExecutionContext
  readonly #onIdle: () => void
  readonly #name: string
  readonly #waiting: Waiting[] = []
  #isRunning = false
  /** How many groups wait for a retry delay. */
  #delayed = 0
  /** A state that was out of date, to which later events are added. */
  #old: FoldedState | undefined

  /** @param onIdle called when no command waits for the stream. */
  constructor(context: ExecutionContext, name: string, onIdle: () => void) {
    this.#context = context
    this.#onIdle = onIdle
    this.#name = name
  }

  add(call: Call, stream: AnyStream): void {
    this.#waiting.push({ call, stream })
    if (!this.#isRunning) void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const again = await this.#turn()
      if (again.length > 0) this.#waiting.unshift(...again)
    }
    this.#isRunning = false
    if (this.#delayed === 0) this.#onIdle()
  }

  /** Decides and appends the commands at the front of the queue; returns those that must be decided again. */
  async #turn(): Promise<readonly Waiting[]> {
    // A microtask passes in any case, so that commands that are executed together are decided together.
    const release = await this.#context.locks.takeOne(this.#name)
    const group = this.#takeGroup()
    try {
      return group.length > 0 ? await this.#decide(group) : []
    } catch (error) {
      for (const { call } of group) call.reject(error)
      return []
    } finally {
      release()
    }
  }

  #takeGroup(): Waiting[] {
    const fold = this.#waiting[0]?.stream.fold
    const other = this.#waiting.findIndex(({ stream }) => stream.fold !== fold)
    const group = this.#waiting.splice(0, Math.min(other < 0 ? Infinity : other, MAX_COMMANDS_PER_APPEND))
    return group.filter(({ call }) => !call.isOver)
  }

  async #decide(group: readonly Waiting[]): Promise<readonly Waiting[]> {
    const { cache, core } = this.#context
    const { stream } = group[0]!
    const base = cache.get(stream) ?? (await foldStream(core, stream, { known: this.#old }))
    for (const { call } of group) call.isCached = base.cached
    const deciding = group.length === 1 ? decideAlone(group[0]!, base) : decideInSequence(group, base)
    const { candidates, rest } = withoutAborted(deciding instanceof Promise ? await deciding : deciding)
    if (candidates.length === 0) return rest
    const { again, conflict } = await appendDecisions(this.#context, [base], candidates)
    this.#old = conflict && base
    const first = conflict ? this.#conflicted(conflict, again, !base.cached) : again
    return [...first, ...rest]
  }

  /** Commands with the same delay wait together, to be one group again; meanwhile other commands run. */
  #conflicted(conflict: Conflict, candidates: readonly InSequence[], counts: boolean): readonly Waiting[] {
    const jitter = environment.random()
    const byDelay = new Map<number, Waiting[]>([[0, []]])
    for (const candidate of candidates) {
      const delay = candidate.call.conflicted(conflict, counts, jitter)
      if (delay === undefined) continue
      const same = byDelay.get(delay)
      if (same) same.push(candidate)
      else byDelay.set(delay, [candidate])
    }
    for (const [delay, waiting] of byDelay) if (delay > 0) this.#later(waiting, delay)
    return byDelay.get(0) ?? []
  }

  #later(waiting: readonly Waiting[], delay: number): void {
    this.#delayed++
    const calls = waiting.map(({ call }) => call)
    void backOff(calls, delay).then(() => {
      this.#delayed--
      this.#waiting.unshift(...waiting)
      if (!this.#isRunning) void this.#run()
    })
  }
}

const MAX_COMMANDS_PER_APPEND = 250

/** A command that waits for the stream. */
interface Waiting {
  readonly call: Call
  readonly stream: AnyStream
}

/** A decided command of the group. */
interface InSequence extends Waiting, Candidate {}

/** Decided commands, and those that are left for another append. */
interface Sequence {
  readonly candidates: readonly InSequence[]
  readonly rest: readonly Waiting[]
}

/** Decides the only command of a group. */
function decideAlone(waiting: Waiting, base: FoldedState): Sequence | Promise<Sequence> {
  if (waiting.call.isOver) return { candidates: [], rest: [] }
  const conclude = (decided: Decided): Sequence => {
    if (waiting.call.isSettled) return { candidates: [], rest: [] }
    const own = decided.kind === 'events' ? decided.events : []
    return { candidates: [fold(waiting, decided, own, base, 0)], rest: [] }
  }
  const deciding = decide(waiting, base)
  return deciding instanceof Promise ? deciding.then(conclude) : conclude(deciding)
}

/** Decides each command on the state that the one before it leaves, as far as they fit into one append. */
async function decideInSequence(group: readonly Waiting[], base: FoldedState): Promise<Sequence> {
  const candidates: InSequence[] = []
  const deferred: Waiting[] = []
  const events: EncodedEvent[] = []
  const keys = new Set<string>()
  const ids = new Set<string>()
  let state = base
  let total = 0
  for (const [i, waiting] of group.entries()) {
    const { call } = waiting
    if (call.isOver) continue
    if (call.key !== undefined && keys.has(call.key)) {
      deferred.push(waiting)
      continue
    }
    const deciding = decide(waiting, state)
    const decided = deciding instanceof Promise ? await deciding : deciding
    if (call.isSettled) continue
    const own = decided.kind === 'events' ? decided.events : []
    const size = sizeOf(own)
    const isFull = events.length + own.length > limits.appendEvents || total + size > limits.appendBytes
    if (own.some(({ id }) => ids.has(id)) || (events.length > 0 && own.length > 0 && isFull)) {
      return { candidates, rest: [...deferred, ...group.slice(i)] }
    }
    const candidate = fold(waiting, decided, own, state, events.length)
    candidates.push(candidate)
    for (const event of candidate.events) {
      events.push(event)
      ids.add(event.id)
    }
    total += size
    state = candidate.states[0]!
    if (call.key !== undefined) keys.add(call.key)
  }
  return { candidates, rest: deferred }
}

function decide({ call, stream }: Waiting, state: FoldedState): Decided | Promise<Decided> {
  try {
    const { revision } = state
    return call.decide(see(state), { revision }, placeOnOne(stream), new Map([[stream.stream, revision]]))
  } catch (error) {
    // Thrown by `clone()`: handled like an error of `handle`.
    return { kind: 'threw', error }
  }
}

/** An upper bound of the bytes of JSON in UTF-8; an exact count for each command would cost too much. */
function sizeOf(events: readonly EncodedEvent[]): number {
  let size = 0
  for (const { data, metadata } of events) size += 3 * (data.length + metadata.length)
  return size
}

/** Removes commands that were aborted meanwhile. Commands that were decided after them are decided again. */
function withoutAborted({ candidates, rest }: Sequence): Sequence {
  const aborted = candidates.findIndex(({ call }) => call.isSettled)
  if (aborted < 0) return { candidates, rest }
  return { candidates: candidates.slice(0, aborted), rest: [...candidates.slice(aborted), ...rest] }
}

/** Checks and folds a decision's events, so that an event that the aggregate cannot fold is never stored. */
function fold(
  waiting: Waiting,
  decided: Decided,
  events: readonly EncodedEvent[],
  state: FoldedState,
  first: number,
): InSequence {
  const { call, stream } = waiting
  try {
    checkEvents(events, 1)
    let { revision } = state
    const placed = events.map((event) =>
      streamEventOfNew(event, (revision = nextRevision(revision)), call.metadata),
    )
    const next = evolve(state, placed)
    // Not by spreading `waiting`: V8 takes microseconds to add fields to what is spread.
    return { call, stream, boundary: stream, decided, events, first, states: [next], result: see(next) }
  } catch (error) {
    const threw: Decided = { kind: 'threw', error }
    return {
      call,
      stream,
      boundary: stream,
      decided: threw,
      events: [],
      first,
      states: [state],
      result: undefined,
    }
  }
}
