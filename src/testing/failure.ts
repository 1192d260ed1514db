import { AssertionError } from 'node:assert'
import { difference } from './difference.ts'
import { shownOf, tellOf, type Happened } from './happened.ts'

/** Makes the error: the expected outcome, and the actual one. */
type Fail = (wanted: string, but: Happened | undefined, expected: unknown, actual?: unknown) => AssertionError

/** Call this first in an expectation: the error's stack then begins at the line that called the expectation. */
export function failing(): Fail {
  const site: { stack?: string } = {}
  Error.captureStackTrace(site, failing)
  return (wanted, but, expected, given) => {
    const actual = but && given === undefined ? shownOf(but) : given
    const what = `expected the command to ${wanted}${but ? `, but it ${tellOf(but)}` : ''}`
    const message = `${what}\n\n- expected, + actual\n${difference(expected, actual)}`
    const error = new AssertionError({ message, expected, actual })
    if (but && 'threw' in but) error.cause = but.threw
    const frames =
      site.stack
        ?.split('\n')
        .filter((line) => line.startsWith('    at '))
        .slice(1) ?? []
    error.stack = [`${error.name}: ${message}`, ...frames].join('\n')
    return error
  }
}
