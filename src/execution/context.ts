import type { Boundary } from '../model/boundary.ts'
import type { Call, CallOutcome } from './call.ts'
import { HotStream } from './single-stream.ts'
import { JointDecision } from './multi-stream.ts'
import { RepeatedCalls } from './replay.ts'
import { StateCache } from './state-cache.ts'
import type { AppendRequest, AppendVerdict } from '../adapter/store-adapter.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { StreamTurns } from './stream-lock.ts'
import { isStream } from '../model/stream.ts'

/** What executes the commands of one store in this process. */
export class Executor {
  readonly core: StoreCore
  readonly cache: StateCache
  readonly turns = new StreamTurns()
  readonly repeated: RepeatedCalls
  readonly #hot = new Map<string, HotStream>()

  constructor(core: StoreCore) {
    this.core = core
    this.cache = new StateCache(core.options.cachedStates)
    this.repeated = new RepeatedCalls(core)
  }

  /** Executes a call; settles its outcome. */
  execute(call: Call, boundary: Boundary): Promise<CallOutcome> {
    call.begin()
    if (call.isSettled) return call.outcome
    if (isStream(boundary)) {
      let hot = this.#hot.get(boundary.stream)
      if (!hot) this.#hot.set(boundary.stream, (hot = new HotStream(this, boundary.stream)))
      hot.add(call, boundary)
    } else void new JointDecision(this, call, boundary).run()
    return call.outcome
  }

  /** No command waits for the stream any more. */
  forget(stream: string): void {
    this.#hot.delete(stream)
  }

  /** Appends for calls, which cannot be given up while it is on its way; one alone until it is sent. */
  async append(request: AppendRequest, calls: readonly Call[]): Promise<AppendVerdict> {
    const alone = calls.length === 1 ? calls[0] : undefined
    for (const call of calls) call.inFlight = true
    try {
      return await this.core.commit(request, alone?.signal)
    } finally {
      for (const call of calls) call.inFlight = false
    }
  }
}
