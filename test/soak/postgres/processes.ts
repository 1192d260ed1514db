import { ScriptProcess } from '../../support/processes.ts'

/** How a process uses the store: options of `postgresStore`, and how many connections it has. */
interface Connecting {
  readonly max?: number
  readonly prepare?: boolean
  readonly connectTimeout?: number
  readonly statementTimeout?: number
  readonly busyTimeout?: number
}

/** What a writer did. */
export interface Written {
  readonly acknowledged: number
  readonly refused: number
  readonly unknown: number
}

/** A process that appends in every way until it is told to stop, and keeps a ledger of it. See `worker.mjs`. */
export class Writer extends ScriptProcess {
  readonly ledger: string

  constructor(
    url: string,
    how: Connecting & {
      readonly name: string
      readonly ledger: string
      readonly callers: number
      /** The longest pause between two appends of a caller, in milliseconds. */
      readonly pause: number
    },
  ) {
    super(script, 'write', named(url, how.name), JSON.stringify(how))
    this.ledger = how.ledger
  }
}

/** What the subscribers of a process were given. */
export interface Subscribed {
  readonly failures: object
  /** How many began somewhere and ended, how many events they were given, and how many were given something else. */
  readonly parts: number
  readonly given: number
  readonly wrong: number
  readonly interruptions: number
}

/** A process that tails the log until it is told to stop, and notes what it sees. */
export class Tail extends ScriptProcess {
  readonly seen: string
  readonly categories: readonly string[] | undefined

  constructor(
    url: string,
    how: Connecting & {
      readonly name: string
      readonly seen: string
      readonly limit?: number
      readonly categories?: readonly string[]
      /** So many subscribe, rather than one that reads again and again. */
      readonly subscribers?: number
    },
  ) {
    super(
      script,
      how.subscribers === undefined ? 'tail' : 'subscribe',
      named(url, how.name),
      JSON.stringify(how),
    )
    this.seen = how.seen
    this.categories = how.categories
  }
}

const script = new URL('worker.mjs', import.meta.url)

/** So that the sessions of a process can be told from those of others. */
function named(url: string, name: string): string {
  const withName = new URL(url)
  withName.searchParams.set('application_name', name)
  return withName.href
}
