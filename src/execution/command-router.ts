import type { Boundary } from '../model/command.ts'
import { isStream } from '../model/stream.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { Call, CallOutcome } from './call.ts'
import { ExecutionContext } from './context.ts'
import { MultiStreamDecision } from './multi-stream.ts'
import { SingleStreamDecisions } from './single-stream.ts'

/** Executes the commands of one store in this process. */
export class CommandRouter {
  readonly context: ExecutionContext
  readonly #byStream = new Map<string, SingleStreamDecisions>()

  constructor(core: StoreCore) {
    this.context = new ExecutionContext(core)
  }

  /** Executes a call; settles its outcome. */
  execute(call: Call, boundary: Boundary): Promise<CallOutcome> {
    if (isStream(boundary)) call.checkNotNested([boundary.stream])
    call.begin()
    if (call.isSettled) return call.outcome
    if (isStream(boundary)) this.#decisionsOf(boundary.stream).add(call, boundary)
    else void new MultiStreamDecision(this.context, call, boundary).run()
    return call.outcome
  }

  #decisionsOf(stream: string): SingleStreamDecisions {
    let decisions = this.#byStream.get(stream)
    if (!decisions) {
      decisions = new SingleStreamDecisions(this.context, stream, () => this.#byStream.delete(stream))
      this.#byStream.set(stream, decisions)
    }
    return decisions
  }
}
