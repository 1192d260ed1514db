import { join } from 'node:path'

import { run } from '../src/cli/run.ts'
import type { Pipes } from '../src/cli/terminal.ts'

/** A program with accounts. */
export const model = join(import.meta.dirname, 'accounts.ts')
/** A program whose states are instances of a class. */
export const tallies = join(import.meta.dirname, 'tallies.ts')

/** Runs a command, as on a terminal of so many columns, or in a pipe. */
export async function mneme(
  args: readonly string[],
  options: {
    columns?: number
    env?: Record<string, string>
    signal?: AbortSignal
    wrote?: (text: string) => unknown
    noted?: (text: string) => unknown
    pipes?: Pipes
  } = {},
) {
  const {
    columns,
    env = {},
    signal = new AbortController().signal,
    wrote = () => undefined,
    noted,
    pipes,
  } = options
  const texts = { out: '', err: '' }
  const into = (name: keyof typeof texts) => ({
    columns,
    write: (text: string) => {
      texts[name] += text
      if (name === 'out') wrote(text)
      else noted?.(text)
      return Promise.resolve()
    },
  })
  const code = await run(args, { out: into('out'), err: into('err'), env, signal, pipes })
  return { ...texts, code }
}
