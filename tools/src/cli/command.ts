import type { EventStore } from 'mneme'

import type { Pipes, Terminal } from './terminal.ts'

/** What a verb works with. */
export interface Work {
  readonly store: EventStore
  /** The URL of the store, which may hold a password. */
  readonly url: string
  readonly terminal: Terminal
  readonly pipes: Pipes | undefined
  /** What was given behind the URL. */
  readonly args: readonly string[]
  readonly signal: AbortSignal
  /** Tells a person something beside the output: on the terminal of the errors. */
  readonly note: (text: string) => Promise<void>
  /** Shows how far a long work has come, on a terminal; the text before is written over. */
  readonly progress: (text: string) => void
}
