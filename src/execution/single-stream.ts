import { checkEvents, type EncodedEvent, idsOf } from '../store/encode.ts'
import type {
  Appended,
  AppendRequest,
  AppendVerdict,
  Conflict,
  KeyClaim,
  Repeated,
} from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'
import { backOff, type Call, type Decided, report } from './call.ts'
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
    while (this.#waiting.length > 0) this.#waiting.unshift(...(await this.#turn()))
    this.#isRunning = false
    if (this.#delayed === 0) this.#onIdle()
  }

  /** Decides and appends the commands at the front of the queue; returns those that must be decided again. */
  async #turn(): Promise<readonly Waiting[]> {
    const release = await this.#context.locks.take([this.#name])
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
    const { candidates, rest } = withoutAborted(await decideInSequence(group, base))
    if (candidates.length === 0) return rest
    const events = candidates.flatMap((candidate) => candidate.events)
    const keys = candidates.flatMap(claimOf)
    if (events.length === 0 && keys.length === 0 && !base.cached) {
      // The state was just read and no event is appended: reading it was the verification.
      for (const candidate of candidates) reportOne(candidate)
      cache.set(base)
      return rest
    }
    const conditions = [{ stream: this.#name, expected: base.revision }]
    const again = await this.#append({ conditions, events, keys, ids: idsOf(events) }, candidates, base)
    return [...again, ...rest]
  }

  async #append(
    request: AppendRequest & { readonly events: readonly EncodedEvent[] },
    candidates: readonly Candidate[],
    base: FoldedState,
  ): Promise<readonly Waiting[]> {
    const { cache } = this.#context
    let verdict: AppendVerdict
    try {
      verdict = await this.#context.append(
        request,
        candidates.map(({ call }) => call),
      )
    } catch (error) {
      cache.delete(this.#name)
      // Commands without events cannot be in doubt: they are decided again, without the events of the others.
      const [failed, others] = partition(
        candidates,
        ({ events }) => events.length > 0 || request.events.length === 0,
      )
      for (const { call } of failed) call.reject(error)
      return others
    }
    if (verdict.kind === 'conflict') {
      cache.delete(this.#name)
      this.#old = base
      return this.#conflicted(verdict, candidates, !base.cached)
    }
    if (verdict.kind === 'used') {
      if (!base.cached) cache.set(base)
      const uses = new Map(verdict.uses.map((use) => [use.key, use]))
      const [repeated, others] = partition(
        candidates,
        ({ call: { key } }) => key !== undefined && uses.has(key),
      )
      for (const { call, stream } of repeated) {
        const use = uses.get(call.key!)
        if (use) void this.#context.repeated.settle(call, stream, use)
      }
      return others
    }
    if (verdict.kind === 'repeated') {
      // The events with given ids were stored before. The other decisions depend on a state that is out of date.
      cache.delete(this.#name)
      const [writers, others] = partition(candidates, ({ events }) => events.length > 0)
      for (const writer of writers) reportOne(writer, verdict)
      return others
    }
    this.#old = undefined
    cache.set(candidates.at(-1)!.state)
    for (const candidate of candidates) reportOne(candidate, verdict)
    return []
  }

  /** Commands with the same delay wait together, to be one group again; meanwhile other commands run. */
  #conflicted(conflict: Conflict, candidates: readonly Candidate[], counts: boolean): readonly Waiting[] {
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

function claimOf({ call, events, first }: Candidate): KeyClaim[] {
  const { key, fingerprint } = call
  return key === undefined ? [] : [{ key, fingerprint, first, count: events.length }]
}

function reportOne(candidate: Candidate, verdict?: Appended | Repeated): void {
  const { stream, revision } = candidate.state
  report(candidate.call, { ...candidate, revisions: new Map([[stream.stream, revision]]) }, verdict)
}

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))]
}

/** A command that waits for the stream. */
export interface Waiting {
  readonly call: Call
  readonly stream: AnyStream
}

/** A decided command. Its state includes the events of the commands before it in the group. */
export interface Candidate extends Waiting {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among the group's events. */
  readonly first: number
  /** The state with its events. */
  readonly state: FoldedState
  /** The state for the caller; made before the append, because `clone()` may throw. */
  readonly result: unknown
}

/** Decided commands, and those that are left for another append. */
interface Sequence {
  readonly candidates: readonly Candidate[]
  readonly rest: readonly Waiting[]
}

/** Decides each command on the state that the one before it leaves, as far as they fit into one append. */
async function decideInSequence(group: readonly Waiting[], base: FoldedState): Promise<Sequence> {
  const candidates: Candidate[] = []
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
    state = candidate.state
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
): Candidate {
  try {
    checkEvents(events, 1)
    let { revision } = state
    const placed = events.map((event) =>
      streamEventOfNew(event, (revision = nextRevision(revision)), waiting.call.metadata),
    )
    const next = evolve(state, placed)
    return { ...waiting, decided, events, first, state: next, result: see(next) }
  } catch (error) {
    return { ...waiting, decided: { kind: 'threw', error }, events: [], first, state, result: undefined }
  }
}
