import type { EventStore } from 'mneme'

import type { Pipes, Terminal } from './terminal.ts'

/** What a verb works with. */
export interface Work extends WorkAlone {
  readonly store: EventStore
  /** As it was given, with a password if it has one. */
  readonly url: string
}

/** What a verb works with that needs no store. */
export interface WorkAlone {
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
