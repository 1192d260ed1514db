import { after } from './append-rules.ts'
import { placeOnOne } from './boundary-shape.ts'
import type { Call, Decided } from './call.ts'
import { fitsOneAppend, type EncodedEvent } from './encode.ts'
import type { Executor } from './executor.ts'
import { evolve, foldStream, isShareable, see, type FoldedState } from './fold-state.ts'
import { fromAppended, streamEventOfNew } from './recorded.ts'
import type { Appended, AppendRequest, AppendVerdict, KeyClaim } from './store-adapter.ts'
import type { AnyStream } from './stream.ts'

/** A command that waits for the stream. */
interface Waiting {
  readonly call: Call
  readonly stream: AnyStream
}

/** A decided command: what it stands on are the events of those before it in its group. */
interface Candidate extends Waiting {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the group. */
  readonly first: number
  /** The state with its events. */
  readonly state: FoldedState
}

/** Who has to be decided anew, and how long they wait before. */
interface Again {
  readonly again: readonly Waiting[]
  readonly delay: number
}

/**
 * The commands of this process that wait for one stream. They are decided in sequence, each on the state that
 * the one before it left, and go as one append with one expectation: it succeeds whole, or fails whole and all
 * are decided anew. (A revision is a number, not an identity: a decision that stands on another's uncommitted
 * event must fall with it.) Nothing is reported before what it stands on is committed.
 */
export class HotStream {
  readonly #executor: Executor
  readonly #name: string
  readonly #waiting: Waiting[] = []
  #isRunning = false
  /** A state that turned out to be old, to read on from. */
  #old: FoldedState | undefined

  constructor(executor: Executor, name: string) {
    this.#executor = executor
    this.#name = name
  }

  add(call: Call, stream: AnyStream): void {
    this.#waiting.push({ call, stream })
    if (!this.#isRunning) void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const { again, delay } = await this.#turn()
      this.#waiting.unshift(...again)
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay))
    }
    this.#isRunning = false
    this.#executor.forget(this.#name)
  }

  /** Takes those that wait at the front, decides them and reports what stands. */
  async #turn(): Promise<Again> {
    const release = await this.#executor.turns.take([this.#name])
    const group = this.#takeGroup()
    try {
      return await this.#decide(group)
    } catch (error) {
      for (const { call } of group) call.reject(error)
      return { again: [], delay: 0 }
    } finally {
      release()
    }
  }

  #takeGroup(): Waiting[] {
    const fold = this.#waiting[0]?.stream.fold
    const other = this.#waiting.findIndex(({ stream }) => stream.fold !== fold)
    return this.#waiting.splice(0, Math.min(other < 0 ? Infinity : other, MOST_AT_ONCE))
  }

  async #decide(group: readonly Waiting[]): Promise<Again> {
    const { cache, core } = this.#executor
    const { stream } = group[0] as Waiting
    const base = cache.get(stream) ?? (await foldStream(core, stream, { known: this.#old }))
    const { candidates, rest } = await decideInSequence(group, base)
    const events = candidates.flatMap((candidate) => candidate.events)
    const keys = candidates.flatMap(claimOf)
    if (events.length === 0 && keys.length === 0 && !base.cached) {
      // The state was read just now and nothing was added to it: that is its verification.
      for (const candidate of candidates) report(candidate)
      cache.set(base)
      return { again: rest, delay: 0 }
    }
    const conditions = [{ stream: this.#name, expected: base.revision }]
    return this.#append({ conditions, events, keys }, candidates, rest, base)
  }

  async #append(
    request: AppendRequest & { readonly events: readonly EncodedEvent[] },
    candidates: readonly Candidate[],
    rest: readonly Waiting[],
    base: FoldedState,
  ): Promise<Again> {
    const { cache } = this.#executor
    let verdict: AppendVerdict
    try {
      verdict = await this.#executor.append(
        request,
        candidates.map(({ call }) => call),
      )
    } catch (error) {
      cache.delete(this.#name)
      // Those without events wrote nothing that could be in doubt: they are decided without the others'.
      const [failed, others] = partition(
        candidates,
        ({ events }) => events.length > 0 || request.events.length === 0,
      )
      for (const { call } of failed) call.reject(error)
      return { again: [...others, ...rest], delay: 0 }
    }
    if (verdict.kind === 'conflict') {
      cache.delete(this.#name)
      this.#old = base
      const delays = candidates.map(({ call }) => call.conflicted(verdict, !base.cached))
      const delay = Math.max(0, ...delays.filter((one) => one !== undefined))
      return { again: [...candidates.filter(({ call }) => !call.isSettled), ...rest], delay }
    }
    if (verdict.kind === 'used') {
      const uses = new Map(verdict.uses.map((use) => [use.key, use]))
      const [repeated, others] = partition(
        candidates,
        ({ call: { key } }) => key !== undefined && uses.has(key),
      )
      for (const { call, stream } of repeated) {
        const use = uses.get(call.key as string)
        if (use) void this.#executor.reportRepeated(call, stream, use)
      }
      return { again: [...others, ...rest], delay: 0 }
    }
    this.#old = undefined
    cache.set((candidates.at(-1) as Candidate).state)
    for (const candidate of candidates) report(candidate, verdict)
    return { again: rest, delay: 0 }
  }
}

/** How many commands are decided for one append. */
const MOST_AT_ONCE = 1_000

/** Decides each command on the state that the one before it leaves, as far as they go into one append. */
async function decideInSequence(
  group: readonly Waiting[],
  base: FoldedState,
): Promise<{ candidates: Candidate[]; rest: Waiting[] }> {
  const candidates: Candidate[] = []
  const deferred: Waiting[] = []
  const events: EncodedEvent[] = []
  const keys = new Set<string>()
  let state = base
  for (const [i, waiting] of group.entries()) {
    const { call, stream } = waiting
    if (call.isSettled) continue
    if (call.key !== undefined && keys.has(call.key)) {
      deferred.push(waiting)
      continue
    }
    if (candidates.length > 0 && !isShareable(state))
      return { candidates, rest: [...deferred, ...group.slice(i)] }
    const deciding = call.decide(see(state), { revision: state.revision }, placeOnOne(stream))
    const decided = deciding instanceof Promise ? await deciding : deciding
    if (call.isSettled) continue
    const own = decided.kind === 'events' ? decided.events : []
    if (events.length > 0 && own.length > 0 && !fitsOneAppend([...events, ...own])) {
      return { candidates, rest: [...deferred, ...group.slice(i)] }
    }
    const candidate = fold(waiting, decided, own, state, events.length)
    candidates.push(candidate)
    events.push(...candidate.events)
    state = candidate.state
    if (call.key !== undefined) keys.add(call.key)
  }
  return { candidates, rest: deferred }
}

/** Folds a decision's events: what the aggregate cannot fold is never stored. */
function fold(
  waiting: Waiting,
  decided: Decided,
  events: readonly EncodedEvent[],
  state: FoldedState,
  first: number,
): Candidate {
  try {
    let { revision } = state
    const placed = events.map((event) =>
      streamEventOfNew(event, (revision = after(revision)), waiting.call.metadata),
    )
    return { ...waiting, decided, events, first, state: evolve(state, placed) }
  } catch (error) {
    return { ...waiting, decided: { kind: 'threw', error }, events: [], first, state }
  }
}

function claimOf({ call, events, first }: Candidate): KeyClaim[] {
  const { key, fingerprint } = call
  return key === undefined ? [] : [{ key, fingerprint, first, count: events.length }]
}

/** Tells the caller what came of its command, now that all it stands on is committed. */
function report(candidate: Candidate, verdict?: Appended): void {
  const { call, decided, events, first, state } = candidate
  const { attempts, metadata } = call
  if (decided.kind === 'threw') call.reject(decided.error)
  else if (decided.kind === 'rejected') call.resolve({ ok: false, rejection: decided.rejection, attempts })
  else {
    const stored = verdict ? fromAppended(events, verdict, metadata, first) : []
    const revisions = new Map([[state.stream.stream, state.revision]])
    const position = stored.at(-1)?.position
    call.resolve({
      ok: true,
      events: stored,
      state: see(state),
      revisions,
      position,
      attempts,
      repeated: false,
    })
  }
}

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))]
}
