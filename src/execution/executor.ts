import type { Boundary } from '../boundary.ts'
import type { Call, CallOutcome } from './call.ts'
import { fromUse } from '../recorded.ts'
import { decode } from '../decode.ts'
import { KeyReusedError } from '../errors.ts'
import { foldStream } from './fold-state.ts'
import { HotStream } from './hot-stream.ts'
import { JointDecision } from './joint-decision.ts'
import { readBoundary } from './read-boundary.ts'
import { StateCache } from './state-cache.ts'
import type { AppendRequest, AppendVerdict, KeyUse } from '../store-adapter.ts'
import type { StoreCore } from '../store-core.ts'
import { StreamTurns } from './stream-turns.ts'
import { isStream } from '../stream.ts'

/** What executes the commands of one store in this process. */
export class Executor {
  readonly core: StoreCore
  readonly cache: StateCache
  readonly turns = new StreamTurns()
  /** States as they were after the appends repeated last: who repeats one often repeats the next one, too. */
  readonly #past: StateCache
  readonly #hot = new Map<string, HotStream>()

  constructor(core: StoreCore) {
    this.core = core
    this.cache = new StateCache(core.options.cachedStates)
    this.#past = new StateCache(core.options.cachedStates)
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

  /** Reports what the first append with a call's key gave, with the states as they were right after it. */
  async reportRepeated(call: Call, boundary: Boundary, use: KeyUse): Promise<void> {
    try {
      if (use.fingerprint !== call.fingerprint) throw new KeyReusedError(use.key)
      const heads = new Map(use.heads)
      const { states, ...reading } = await readBoundary(call.command, boundary, async (stream) => {
        const upTo = heads.get(stream.stream)
        if (upTo === undefined) return foldStream(this.core, stream)
        const folded = await foldStream(this.core, stream, { known: this.#past.get(stream), upTo })
        this.#past.set(folded)
        return folded
      })
      const { events, ...result } = fromUse(use)
      const folds = new Map(states.all().map(({ stream }) => [stream.stream, stream.fold]))
      const decoded = events.map((event) => {
        const fold = folds.get(event.stream)
        // Another command with an equal input: what it wrote is no answer to this one.
        if (!fold) throw new KeyReusedError(use.key)
        return decode(fold, event)
      })
      const state = states.shape(reading.boundary)
      call.resolve({ ok: true, ...result, events: decoded, state, attempts: call.attempts })
    } catch (error) {
      call.reject(error)
    }
  }
}
