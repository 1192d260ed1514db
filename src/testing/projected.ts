import assert, { AssertionError, type AssertPredicate } from 'node:assert'
import type { TargetRow, TargetValue } from '../adapter/projection-target.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Failure } from '../projections/builds.ts'
import { DefinedProjection, definedProjection, type Projection } from '../projections/projection.ts'
import { runProjections } from '../projections/run.ts'
import type { EventStore } from '../store/event-store.ts'
import { testStore } from './test-store.ts'
import { difference } from './difference.ts'

/**
 * The expected outcome of a projection. Await each expectation: it rejects with an `AssertionError` if it does not hold. The
 * projection runs once for each.
 */
export interface Projected {
  /** This query, in the database's own SQL, then gives exactly these rows, in this order. */
  thenRows(query: string | ProjectedQuery, ...rows: TargetRow[]): Promise<void>
  /** A handler throws an error that matches, as in `assert.rejects`. It is not retried. */
  thenThrows(matcher?: AssertPredicate): Promise<void>
}

/** A query with parameters. */
export interface ProjectedQuery {
  readonly sql: string
  readonly values: readonly TargetValue[]
}

/** @param record appends the given events. */
export function projected(projection: Projection, record: (store: EventStore) => Promise<void>): Projected {
  const defined = definedProjection(projection)
  if (!defined) throw new InvalidArgumentError('projection', 'made by defineProjection')
  const { target } = defined.definition
  return {
    async thenRows(query, ...rows) {
      await run(defined, record)
      const { sql, values } = typeof query === 'string' ? { sql: query, values: [] } : query
      const actual = await target.query(sql, values)
      try {
        assert.deepEqual(actual, rows)
      } catch {
        const message = `expected rows of ${sql}\n\n- expected, + actual\n${difference(rows, actual)}`
        throw new AssertionError({ message, expected: rows, actual })
      }
    },
    thenThrows: (matcher) =>
      matcher === undefined
        ? assert.rejects(run(defined, record))
        : assert.rejects(run(defined, record), matcher),
  }
}

/** Builds the read model anew from the given events. @throws what a handler throws. */
async function run(
  { definition }: DefinedProjection,
  record: (store: EventStore) => Promise<void>,
): Promise<void> {
  const { store, ring } = testStore()
  const personal = definition.personal && ring
  const once = {
    ...definition,
    personal,
    onError: 'block',
    retry: { ...definition.retry, maxRetries: 0 },
  } as const
  const projection = new DefinedProjection(once)
  const failures: Failure[] = []
  try {
    await record(store)
    // What an earlier test left in the target is of another history.
    if (definition.tables.length > 0 || definition.reset) await projection.reset()
    const running = await runProjections(store, [projection], {
      onFailure: (failure) => failures.push(failure),
    })
    await running.caughtUp().catch((error: unknown) => {
      const thrown = failures.find(({ event }) => event !== undefined)
      throw thrown ? thrown.error : error
    })
    await running.stop()
  } finally {
    await store.close()
  }
}
