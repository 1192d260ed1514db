import {
  causesOf,
  HandlerMisuse,
  type TargetQuery,
  type TargetRow,
  type TargetStep,
  type TargetSteps,
} from '../../adapter/projection-target.ts'
import type { SqliteStatement } from './driver.ts'
import { faultOf, isBusy, isOfFile } from './errors.ts'

/** Prepares statements, each of them once. */
interface Preparing {
  prepare(sql: string): SqliteStatement
}

/** Runs steps to their end, synchronously. @throws what a step throws; a failure of the file as one of Mneme's errors. */
export function runAll<T>(steps: TargetSteps<T>, query: (asked: TargetQuery) => TargetRow[]): T {
  try {
    let step = steps.next()
    while (!step.done) {
      step = 'sql' in step.value ? steps.next(query(step.value)) : refuse(steps, step.value.returned)
    }
    return step.value
  } catch (error) {
    // Also if a handler, or its query builder, has wrapped it.
    const fault = [...causesOf(error)].find(isOfFile)
    if (fault === undefined) throw error
    throw isBusy(fault) ? (fault as Error) : faultOf(fault)
  }
}

/** Runs one of Mneme's own queries. @throws an error of Mneme, or that of the driver if the file is busy. */
export function rowsOf(connection: Preparing, { sql, values }: TargetQuery): TargetRow[] {
  const { text, order, givesRows } = translate(sql)
  const inOrder = order.map((n) => values[n - 1] ?? null)
  try {
    const statement = connection.prepare(text)
    // better-sqlite3 throws if a statement that returns no rows is asked for them.
    if (givesRows) return statement.all(...inOrder) as TargetRow[]
    statement.run(...inOrder)
    return []
  } catch (error) {
    throw isBusy(error) ? error : faultOf(error)
  }
}

/** A query in SQLite's SQL. The drivers share no form of numbered parameters: values are passed in the order of use. */
function translate(sql: string): Translation {
  let translation = translations.get(sql)
  if (!translation) {
    const order: number[] = []
    const text = sql.replace(WORDS, (word, parameter?: string) => {
      if (parameter === undefined) return TEXTS[word] ?? word
      order.push(Number(parameter))
      return '?'
    })
    translation = { text, order, givesRows: /^\s*SELECT|\bRETURNING\b/.test(text) }
    translations.set(sql, translation)
  }
  return translation
}

interface Translation {
  readonly text: string
  readonly order: readonly number[]
  readonly givesRows: boolean
}

/** Only Mneme's own queries, so it stays small. */
const translations = new Map<string, Translation>()

/** Refuses a promise: it would be settled after the end of the transaction. */
function refuse<T>(steps: TargetSteps<T>, returned: unknown): IteratorResult<TargetStep, T> {
  // Its rejection must not become an unhandled one.
  Promise.resolve(returned).catch(() => undefined)
  return steps.throw(new HandlerMisuse('synchronous, as everything is in SQLite, but it returned a promise'))
}

const WORDS = /\$(\d+)|\b(?:NOW|STANDS|PINNED|CLAIMED|PROJECTIONS|PARKED|TIMERS|VERSIONS)\b/g

const TEXTS: Readonly<Record<string, string | undefined>> = {
  // An ended transaction is noticed before the query.
  STANDS: '1',
  // A write transaction excludes all other writers.
  PINNED: '',
  CLAIMED: '',
  NOW: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
  PROJECTIONS: 'mneme_projections',
  PARKED: 'mneme_parked',
  TIMERS: 'mneme_timers',
  VERSIONS: 'mneme_projection_versions',
}
