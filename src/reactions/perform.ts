import { endingWith } from '../base/abort.ts'
import { environment } from '../base/environment.ts'
import { isMnemeError } from '../base/errors.ts'
import { type CommandOutcome, type Executor } from '../execution/executor.ts'
import type { Recorded } from '../model/event.ts'
import { LostRace } from '../projections/batch.ts'
import { isOfDatabase } from '../projections/failures.ts'
import { effectsOf, keyOf, type Plan, type PlannedCall } from './plan.ts'
import type { ReactionSpec } from './spec.ts'

/** A call failed, or was rejected and the reaction says to block or to park. */
export class CallFailure extends Error {
  /** What happens at once, without a retry. */
  readonly verdict: 'block' | 'park' | undefined

  constructor(cause: unknown, verdict?: 'block' | 'park') {
    super('a call failed', { cause })
    this.verdict = verdict
  }
}

/** The worker was told to stop before a call had ended. */
export class Interrupted extends Error {}

/** Executes commands. */
export type Execute = Pick<Executor, 'tryExecute'>['tryExecute']

/** What a plan is carried out with. */
export interface Performing {
  readonly plan: Plan
  /** Where it comes from, in words. */
  readonly where: string
  /** The time from which the delays of answers to rejections count, in milliseconds since 1970. */
  readonly from: number
  /** The event from which it follows, for the answers to rejections. */
  readonly event: () => Promise<Recorded>
  /** Stores the plan, which has changed, before its new calls are executed. */
  readonly save: () => Promise<void>
}

/** Carries plans out. */
export class Performer {
  readonly #spec: ReactionSpec
  readonly #execute: Execute
  readonly #signal: AbortSignal
  readonly #isExpired: () => boolean

  constructor(
    spec: ReactionSpec,
    { execute, signal, isExpired }: { execute: Execute; signal: AbortSignal; isExpired: () => boolean },
  ) {
    this.#spec = spec
    this.#execute = execute
    this.#signal = signal
    this.#isExpired = isExpired
  }

  /**
   * Executes the calls of a plan, one after the other. A call that was executed before takes no effect again.
   *
   * @throws CallFailure, Interrupted, LostRace; one of Mneme's errors if the store cannot be reached.
   */
  async perform(performing: Performing): Promise<void> {
    const { plan } = performing
    for (;;) {
      const call = plan.calls.find(({ isDone }) => isDone !== true)
      if (!call) return
      if (this.#signal.aborted) throw new Interrupted()
      // After a pause that was longer than the lease, the successor has it.
      if (this.#isExpired()) throw new LostRace()
      const rejection = await this.#call(plan, call)
      if (rejection) await this.#answer(performing, call, rejection)
      call.isDone = true
    }
  }

  /** Executes a call. Returns its rejection, if it was rejected. */
  async #call(
    { id, metadata }: Plan,
    { path, command: name, input }: PlannedCall,
  ): Promise<{ readonly reason: string } | undefined> {
    const { name: reaction, commands, timeout } = this.#spec
    const type = commands.get(name)
    if (!type) {
      throw new CallFailure(
        new Error(
          `command '${name}' is not among the 'commands' of reaction '${reaction}': add it again, and unblock the reaction`,
        ),
      )
    }
    const { ending, stop } = endingWith(this.#signal)
    const cancel = environment.after(timeout, () => {
      ending.abort(new CallTimeoutError(name, timeout))
    })
    try {
      const command = type(input) as never
      const options = { key: keyOf(reaction, id, path), metadata, signal: ending.signal }
      const outcome = (await this.#execute(command, options)) as CommandOutcome
      return outcome.ok ? undefined : outcome.rejection
    } catch (error) {
      if (this.#signal.aborted) throw new Interrupted()
      // The event had its effect by another version, whose call this key was used for.
      if (isMnemeError(error) && error.code === 'KEY_REUSED') return undefined
      // No retry helps, and the others have nothing to do with it: it is set aside, where a person sees and discards it.
      if (isMnemeError(error) && error.code === 'SUBJECT_ERASED') throw new CallFailure(error, 'park')
      if (isOfDatabase(error) || (isMnemeError(error) && error.code === 'STORE_CLOSED')) throw error
      throw new CallFailure(error)
    } finally {
      cancel()
      stop()
    }
  }

  /** Does what the reaction says of a rejection. */
  async #answer(
    { plan, where, from, event, save }: Performing,
    call: PlannedCall,
    rejection: { readonly reason: string },
  ): Promise<void> {
    const { rejected, kind, name } = this.#spec
    const answer = rejected.get(call.command)
    const told = `command '${call.command}' was rejected: ${rejection.reason}`
    if (!answer)
      throw new CallFailure(new Error(`${told}; 'rejected' of ${kind} '${name}' does not say what to do`))
    let effects
    try {
      const returned = answer(rejection as never, await event())
      if (returned === 'ignore') return
      if (returned === 'block' || returned === 'park') throw new CallFailure(new Error(told), returned)
      const answers = (call.answers ?? 0) + 1
      if (answers > MAX_ANSWERS) {
        throw new Error(
          `${told}; its answers were rejected ${String(answers)} times in a row: answer by a timer, to ask again later`,
        )
      }
      const asked = `what 'rejected' of ${kind} '${name}' returns for '${call.command}' (${where})`
      effects = effectsOf(this.#spec, returned, { where: asked, from, parent: call.path, answers })
    } catch (error) {
      if (error instanceof CallFailure || isOfDatabase(error)) throw error
      throw new CallFailure(error)
    }
    // The call that was rejected is replaced by its answers: otherwise it might be accepted the next time, as well as they.
    plan.calls = plan.calls.flatMap((each) => (each === call ? effects.calls : [each]))
    plan.timers = [...plan.timers, ...effects.timers]
    await save()
  }
}

/** A call did not end in time. */
class CallTimeoutError extends Error {
  constructor(command: string, timeout: number) {
    super(
      `the call of '${command}' did not end within ${String(timeout)} ms: give what it needs a time-out of its own, or ` +
        `set 'callTimeout' of the reaction`,
    )
    this.name = 'CallTimeoutError'
  }
}

/** How many answers to answers there may be at once. */
const MAX_ANSWERS = 10
