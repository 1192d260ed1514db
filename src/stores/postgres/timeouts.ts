import { checkWhole } from '../../store/arguments.ts'
import { InvalidArgumentError } from '../../base/errors.ts'

/** The longest that a timer of Node's can wait, in milliseconds. */
export const LONGEST = 2 ** 31 - 1

/** @throws InvalidArgumentError */
export function checkTimeout(value: number, name: string): void {
  checkWhole(value, `options.${name}`, 1)
  if (value > LONGEST) throw new InvalidArgumentError(`options.${name}`, `at most ${String(LONGEST)}`)
}
