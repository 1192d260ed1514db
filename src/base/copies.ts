import { InvalidArgumentError } from './errors.ts'

/** Marks what this copy of the package makes, so that another copy in the same process can say what is wrong. */
const MADE = Symbol.for('mneme.made')

/** Marks an object as made by a copy of Mneme. */
export function markMade<T extends object>(object: T): T {
  return Object.defineProperty(object, MADE, { value: true })
}

/** Refuses what another copy of the package made, and what this copy therefore does not know. @throws InvalidArgumentError */
export function refuseOtherCopy(value: unknown, argument: string, what: string): void {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null || !(MADE in value)) return
  throw otherCopy(argument, what)
}

/** The error for something that another copy of the package made. */
export function otherCopy(argument: string, what: string): InvalidArgumentError {
  return new InvalidArgumentError(argument, {
    message:
      `${what} was made by another copy of Mneme in this process; install a single one, so that all of the program ` +
      'imports the same (npm ls mneme lists them)',
  })
}
