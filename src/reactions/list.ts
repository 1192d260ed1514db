import { checkOptions } from '../base/arguments.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import { checkText } from '../model/names.ts'
import { hasTables } from '../projections/list.ts'
import { type Timer, timersOf, type TimersOptions } from './control.ts'

/**
 * The timers of a reaction of any program, in the order of their due time: the first 100, or those behind another one. For a
 * person on duty; a program that defines the reaction has `reaction.in(target).timers()`.
 *
 * @throws InvalidArgumentError if it is no target; OpenError, StoreUnavailableError and so on.
 */
export async function timersIn(
  target: ProjectionTarget<unknown>,
  reaction: string,
  options: TimersOptions = {},
): Promise<readonly Timer[]> {
  checkText(reaction, 'reaction', 'the name of a reaction')
  const find = timersOf(checkOptions(options, 'options', ['limit', 'after']))
  return (await hasTables(target)) ? target.read(() => find(reaction)) : []
}
