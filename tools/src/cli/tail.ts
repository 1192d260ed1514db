import type { Work } from './command.ts'
import { messageOf } from './errors.ts'
import { EVENT_COLUMNS } from './events.ts'
import { printable, type Column } from './terminal.ts'
import type { Recorded } from 'mneme'

export interface TailOptions {
  readonly lines: number
  readonly follow?: boolean
  readonly category?: readonly string[]
  readonly type?: readonly string[]
  readonly json?: boolean
}

/** Shows the last events, and with `--follow` each new one. */
export async function tail(
  { store, terminal, args, signal, note }: Work,
  options: TailOptions,
): Promise<void> {
  const filter = {
    streams: args.length > 0 ? args : undefined,
    categories: options.category,
    types: options.type,
  }
  // First where the log stands, then what is before and behind it: no event comes twice or not at all.
  const head = await store.logHead()
  const last: Recorded[] = []
  if (options.lines > 0 && head !== undefined) {
    const before = { direction: 'backwards', limit: options.lines, signal } as const
    for await (const event of store.readAll({ ...filter, ...before })) {
      if (event.position <= head) last.unshift(event)
    }
  }
  await terminal.table(last, EVENT_COLUMNS)
  if (options.follow !== true) return
  const onInterrupted = (error: Error) =>
    void note(`the store cannot be reached, trying again: ${messageOf(error)}`)
  for await (const event of store.subscribe({ ...filter, from: head ?? 'start', signal, onInterrupted })) {
    await terminal.record(event, () => lineOf(event, EVENT_COLUMNS))
  }
}

function lineOf(event: Recorded, columns: readonly Column<Recorded>[]): string {
  return columns.map(({ of }) => printable(of(event))).join('  ')
}
