import type { EventStore, Recorded, Revision } from 'mneme'

import { CallError } from './call.ts'
import type { NamedAggregate } from './program.ts'

/** The state of a stream as of a revision, and how it came there. */
export interface StateAt {
  readonly revision: Revision
  readonly state: unknown
  /** The state before the event of that revision. */
  readonly before: unknown
  /** The event of that revision; `undefined` before the first one. */
  readonly event: Recorded | undefined
}

/** A folded state, with the event that it was folded up to. */
interface Kept {
  readonly revision: number
  readonly id: string
  readonly state: unknown
}

/**
 * Folds states as of any revision. It keeps some of them, frozen, so that a step back in a long stream does not fold the stream
 * from its beginning.
 */
export class States {
  readonly #store: EventStore
  /** The states of a stream, by aggregate and stream; those that were used last come last. */
  readonly #kept = new Map<string, Kept[]>()

  constructor(store: EventStore) {
    this.#store = store
  }

  /**
   * @param revision `'none'`: before the first event.
   * @throws CallError if the stream has no such event; UnknownEventError, FoldError, the signal's reason.
   */
  async at(stream: string, named: NamedAggregate, revision: Revision, signal: AbortSignal): Promise<StateAt> {
    const { aggregate } = named
    if (revision === 'none') {
      const state: unknown = aggregate.initial()
      return { revision, state, before: state, event: undefined }
    }
    const key = JSON.stringify([named.name, stream])
    const start = await this.#startBefore(key, stream, revision, signal)
    const spacing = Math.max(MIN_SPACING, Math.ceil(revision / STATES_PER_STREAM))
    let state: unknown = start ? copyOf(start.state) : aggregate.initial()
    let at = start?.revision ?? -1
    for await (const event of this.#store.read(stream, { from: at + 1, to: revision, signal })) {
      if (event.revision !== at + 1) throw missingBefore(stream, event.revision)
      at = event.revision
      const before = at === revision ? frozenCopyOf(state) : undefined
      const decoded = aggregate.decode(event)
      if (decoded) state = aggregate.evolve(state, decoded)
      if (at === revision) {
        this.#keep(key, { revision: at, id: event.id, state: frozenCopyOf(state) })
        return { revision, state, before, event }
      }
      // The state just before is where a step back begins.
      if (at % spacing === 0 || at === revision - 1) {
        this.#keep(key, { revision: at, id: event.id, state: frozenCopyOf(state) })
      }
    }
    throw new CallError(`'${stream}' has no event of revision ${String(revision)}`, {
      code: 'NO_EVENT',
      status: 404,
    })
  }

  /** The last kept state before a revision, if the stream still has its event. */
  async #startBefore(
    key: string,
    stream: string,
    revision: number,
    signal: AbortSignal,
  ): Promise<Kept | undefined> {
    const start = this.#kept.get(key)?.findLast((kept) => kept.revision < revision)
    if (!start) return undefined
    const place = { from: start.revision, to: start.revision, signal }
    for await (const { id } of this.#store.read(stream, place)) if (id === start.id) return start
    // Another history stands there: a backup was restored.
    this.#kept.delete(key)
    return undefined
  }

  #keep(key: string, kept: Kept): void {
    const others = (this.#kept.get(key) ?? []).filter(({ revision }) => revision !== kept.revision)
    const states = [...others, kept].sort((a, b) => a.revision - b.revision)
    if (states.length > STATES_PER_STREAM * 2) states.splice(Math.floor(states.length / 2), 1)
    this.#kept.delete(key)
    this.#kept.set(key, states)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MAX_STREAMS && oldest !== undefined) this.#kept.delete(oldest)
  }
}

const MAX_STREAMS = 8
const STATES_PER_STREAM = 50
const MIN_SPACING = 200

function missingBefore(stream: string, revision: number): CallError {
  const message = `the events of '${stream}' before revision ${String(revision)} were erased: no state can be folded`
  return new CallError(message, { code: 'STREAM_TRUNCATED', status: 410 })
}

/** A state that may be changed: instances of classes are changed by each event. */
function copyOf(state: unknown): unknown {
  return isInstance(state) ? state.clone() : state
}

/** A state that is kept: a copy of an instance, or the state itself, which no `apply` can change any more. */
function frozenCopyOf(state: unknown): unknown {
  if (isInstance(state)) return state.clone()
  freeze(state)
  return state
}

function isInstance(state: unknown): state is { clone(): unknown } {
  if (typeof state !== 'object' || state === null) return false
  const { clone, apply } = state as { readonly clone?: unknown; readonly apply?: unknown }
  return typeof clone === 'function' && typeof apply === 'function'
}

function freeze(root: unknown): void {
  const waiting = [root]
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (typeof value !== 'object' || value === null || Object.isFrozen(value)) continue
    if (ArrayBuffer.isView(value)) continue
    Object.freeze(value)
    waiting.push(...(Object.values(value) as unknown[]))
  }
}
