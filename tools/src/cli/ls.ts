import type { Work } from './command.ts'

export interface LsOptions {
  readonly category?: string
  readonly after?: string
  readonly limit?: number
}

/** Lists the streams. */
export function ls({ store, terminal, signal }: Work, { category, after, limit }: LsOptions): Promise<void> {
  return terminal.table(store.streams({ category, after, limit, signal }), [
    { name: 'events', of: ({ events }) => String(events), isRight: true },
    { name: 'revision', of: ({ revision }) => String(revision), isRight: true },
    { name: 'stream', of: ({ stream }) => stream },
  ])
}
