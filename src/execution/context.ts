import type { AppendRequest, AppendVerdict } from '../adapter/store-adapter.ts'
import { watchCommit } from '../store/diagnostics.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { Call } from './call.ts'
import { RepeatedCalls } from './replay.ts'
import type { FoldedState } from './fold.ts'
import { SnapshotWriter } from './snapshots.ts'
import { StateCache } from './state-cache.ts'
import { StreamLocks } from './stream-lock.ts'

/** What all commands of one store in this process share. */
export class ExecutionContext {
  readonly core: StoreCore
  readonly cache: StateCache
  readonly locks = new StreamLocks()
  readonly repeated: RepeatedCalls
  readonly #snapshots: SnapshotWriter

  constructor(core: StoreCore) {
    this.core = core
    this.cache = new StateCache(core.options.cachedStates)
    this.repeated = new RepeatedCalls(core)
    core.atDelete((stream) => {
      this.cache.delete(stream)
    })
    this.#snapshots = new SnapshotWriter(core)
  }

  /** Caches a state that the store confirmed, and keeps a snapshot of it if one is due. */
  keep(folded: FoldedState): void {
    this.cache.set(this.#snapshots.offer(folded))
  }

  /** Appends for calls, which cannot be aborted while the append is in flight. A single call can until it is sent. */
  async append(request: AppendRequest, calls: readonly Call[]): Promise<AppendVerdict> {
    const alone = calls.length === 1 ? calls[0] : undefined
    for (const call of calls) call.inFlight = true
    try {
      const commit = () => this.core.commit(request, alone?.signal)
      // In the context of the first of them, not of the call that happened to begin the queue.
      const watched = () => watchCommit(request, calls.length, commit)
      return await (calls[0] ? calls[0].context.runInAsyncScope(watched) : watched())
    } finally {
      for (const call of calls) call.inFlight = false
    }
  }
}
