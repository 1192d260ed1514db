import { nextRevision } from '../adapter/append-rules.ts'
import type { SnapshotKeeper } from '../adapter/store-adapter.ts'
import { checkLimit } from '../base/arguments.ts'
import { nextTurn } from '../base/clock.ts'
import { bytesOf, limits } from '../base/limits.ts'
import type { Revision } from '../base/revision.ts'
import type { AnyStream, SnapshotPlan } from '../model/stream.ts'
import { type SnapshotMessage, tellSnapshot } from '../store/diagnostics.ts'
import type { StoreCore } from '../store/lifecycle.ts'

/** A state that was kept, and where its stream has to continue it. */
export interface FoundSnapshot {
  readonly revision: number
  readonly id: string
  readonly state: unknown
}

/**
 * The snapshot of a stream, if there is one that this program can read. Nothing that is wrong with it is an error: the
 * stream is then folded from its beginning.
 */
export async function findSnapshot(core: StoreCore, stream: AnyStream): Promise<FoundSnapshot | undefined> {
  const plan = stream.fold.snapshot
  const keeper = core.snapshots
  if (!plan || !keeper) return undefined
  const tell = tellerOf(stream, plan, 'read')
  let found
  try {
    found = await keeper.get(stream.stream, plan.name)
  } catch (error) {
    tell({ outcome: 'failed', error })
    return undefined
  }
  if (!found) {
    tell({ outcome: 'missing' })
    return undefined
  }
  const { revision, id, content } = found
  try {
    const kept = JSON.parse(content) as Partial<Content> | null
    if (kept?.format !== FORMAT)
      throw new TypeError('the snapshot is in a format that this program does not know')
    if (kept.version !== plan.version) {
      tell({ outcome: 'unusable', reason: 'version', revision })
      return undefined
    }
    return { revision, id, state: plan.decode(kept.state) }
  } catch (error) {
    tell({ outcome: 'unusable', reason: 'unreadable', revision, error })
    return undefined
  }
}

/** A state that the store has confirmed. */
interface Confirmed {
  readonly stream: AnyStream
  readonly revision: Revision
  readonly lastId: string | undefined
  readonly state: unknown
  /** The revision of the last snapshot of its stream that is known. */
  readonly snapshotAt: Revision
}

/** Writes snapshots when they are due, beside the commands, which neither wait for them nor fail with them. */
export class SnapshotWriter {
  readonly #core: StoreCore
  /** The snapshots that are being written, by name, stream and revision. */
  readonly #pending = new Set<string>()

  constructor(core: StoreCore) {
    this.#core = core
  }

  /** Begins to write a snapshot, if one is due. @returns the state, which then knows of it. */
  offer<State extends Confirmed>(state: State): State {
    const { stream, revision, lastId, snapshotAt } = state
    const plan = stream.fold.snapshot
    const keeper = this.#core.snapshots
    if (!plan || !keeper || revision === 'none' || lastId === undefined) return state
    if (nextRevision(revision) - nextRevision(snapshotAt) < plan.every) return state
    const tell = tellerOf(stream, plan, 'write')
    const place = `${plan.name} ${String(revision)} ${stream.stream}`
    const isFull = this.#pending.has(place) || this.#pending.size >= MAX_PENDING_SNAPSHOTS
    if (this.#core.isClosing || isFull) tell({ outcome: 'skipped', revision })
    else {
      this.#pending.add(place)
      const writing = this.#write(keeper, plan, { ...state, revision, lastId }, tell)
      void writing.finally(() => this.#pending.delete(place))
    }
    // Also if it fails: then it is tried again after as many events.
    return { ...state, snapshotAt: revision }
  }

  async #write(
    keeper: SnapshotKeeper,
    plan: SnapshotPlan<unknown>,
    { stream: { stream }, revision, lastId, state }: Confirmed & { revision: number; lastId: string },
    tell: Teller,
  ): Promise<void> {
    try {
      await this.#core.track(async () => {
        // The command is answered first: a large state takes a while.
        await nextTurn()
        const content = contentOf(plan, state)
        const snapshot = { stream, name: plan.name, revision, id: lastId, content }
        tell({ outcome: (await keeper.put(snapshot)) ? 'written' : 'refused', revision })
      })
    } catch (error) {
      tell({ outcome: 'failed', revision, error })
    }
  }
}

/** What a store keeps of a state. @throws InvalidDataError, LimitError; what `toJson` throws. */
function contentOf(plan: SnapshotPlan<unknown>, state: unknown): string {
  const content: Content = { format: FORMAT, version: plan.version, state: plan.encode(state as never) }
  const text = JSON.stringify(content)
  checkLimit('the snapshot', 'eventBytes', bytesOf(text, limits.eventBytes))
  return text
}

interface Content {
  readonly format: typeof FORMAT
  readonly version: number
  readonly state: unknown
}

type Teller = (what: Omit<SnapshotMessage, 'action' | 'stream' | 'name'>) => void

/** Tells what became of a snapshot. */
export function tellerOf(
  { stream }: AnyStream,
  { name }: SnapshotPlan<unknown>,
  action: SnapshotMessage['action'],
): Teller {
  return (what) => {
    tellSnapshot(() => ({ action, stream, name, ...what }))
  }
}

/** The form of a snapshot's text. */
const FORMAT = 1
/** Snapshots that may wait for a slow store; each one keeps its state in memory. */
const MAX_PENDING_SNAPSHOTS = 64
