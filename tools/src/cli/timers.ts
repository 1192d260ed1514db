import type { ProjectionTarget } from 'mneme/projections'
import { projectionsIn } from 'mneme/projections'
import { type Timer, timersIn } from 'mneme/reactions'

import type { Work } from './command.ts'
import { shortened } from './events.ts'
import { targetAt } from './open.ts'
import type { Column } from './terminal.ts'

export interface TimersOptions {
  readonly limit?: number
}

interface Row extends Timer {
  readonly reaction: string
}

const COLUMNS: readonly Column<Row>[] = [
  { name: 'due', of: ({ due }) => due },
  { name: 'state', of: ({ state }) => state, minWidth: 70 },
  { name: 'reaction', of: ({ reaction }) => reaction, minWidth: 70 },
  { name: 'timer', of: ({ timer }) => timer },
  { name: 'command', of: ({ command }) => command },
  { name: 'input', of: ({ input }) => shortened(input) },
]

/** Shows the timers of all reactions of a database, or of one: of each, in the order of their due time. */
export async function timers({ url, terminal, args, signal }: Work, { limit }: TimersOptions): Promise<void> {
  const target = targetAt(url)
  try {
    const reactions =
      args.length > 0
        ? args
        : (await projectionsIn(target)).filter(({ kind }) => kind === 'reaction').map(({ name }) => name)
    await terminal.table(timersOf(target, reactions, { limit, signal }), COLUMNS)
  } finally {
    await target.close()
  }
}

async function* timersOf(
  target: ProjectionTarget<unknown>,
  reactions: readonly string[],
  { limit = Infinity, signal }: { readonly limit: number | undefined; readonly signal: AbortSignal },
): AsyncGenerator<Row> {
  for (const reaction of reactions) {
    let left = limit
    for (let after: Timer | undefined; left > 0;) {
      signal.throwIfAborted()
      const page = await timersIn(target, reaction, { after, limit: Math.min(left, TIMERS_PER_PAGE) })
      for (const timer of page) yield { reaction, ...timer }
      if (page.length < TIMERS_PER_PAGE) break
      left -= page.length
      after = page.at(-1)
    }
  }
}

const TIMERS_PER_PAGE = 500
