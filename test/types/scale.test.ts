import { expect, test } from 'vitest'
import { messagesOf, programOf } from '../support/compiler.ts'

const AGGREGATES = 10
const EVENTS = 20
const COMMANDS = 5

// Measured: 123,000, of which a fifth are the projection's. Times vary, instantiations hardly do: more than a tenth above is a change to look into.
const MAX_INSTANTIATIONS = 135_000

test(`${AGGREGATES * EVENTS} event types, ${AGGREGATES * COMMANDS} commands and a projection of all take the compiler few instantiations`, () => {
  const texts = Object.fromEntries(
    count(AGGREGATES).map((a) => [`test/types/generated/aggregate-${a}.ts`, aggregate(a)]),
  )
  texts['test/types/generated/projection.ts'] = projection()
  const program = programOf([], { texts })
  // Only these files, as a user's compiler checks them against our declarations.
  expect(Object.keys(texts).flatMap((path) => messagesOf(program, path))).toEqual([])
  const instantiations = program.getInstantiationCount()
  expect(instantiations).toBeLessThan(MAX_INSTANTIATIONS)
}, 60_000)

function aggregate(a: number): string {
  const events = count(EVENTS)
  return `import { defineAggregate, defineCommand, event, reject, tryExecute } from 'mneme'
import { memoryStore } from 'mneme/memory'
export const A${a} = defineAggregate({
  name: 'A${a}',
  events: {
    ${events.map((e) => `E${e}: event<{ id: string; amount: number; note${e}?: string; nested: { a: string[]; b: { c: number } } }>(),`).join('\n    ')}
  },
  initial: () => ({ count: 0, ids: [] as string[], status: 'none' as 'none' | 'some' }),
  apply: {
    ${events.map((e) => `E${e}: (state, { id, amount }) => ({ ...state, count: state.count + amount, ids: [...state.ids, id], status: 'some' }),`).join('\n    ')}
  },
})
${count(COMMANDS)
  .map((c) => (c % 3 === 0 ? overTwo(a, c) : overOne(a, c)))
  .join('\n')}
export async function run() {
  const store = memoryStore()
  ${count(COMMANDS)
    .map(
      (
        c,
      ) => `const r${c} = await tryExecute(store, c${c}({ id: 'x', amount: 1${c % 3 === 0 ? ", other: 'y'" : ''} }))
  if (!r${c}.ok) switch (r${c}.rejection.reason) { case 'too-many': break; default: r${c}.rejection.reason } else r${c}.state`,
    )
    .join('\n  ')}
}`
}

/** Of all of them, with a handler for each. */
function projection(): string {
  const aggregates = count(AGGREGATES)
  return `import { defineProjection } from 'mneme/projections'
import { sqliteTarget } from 'mneme/sqlite'
${aggregates.map((a) => `import { A${a} } from './aggregate-${a}.ts'`).join('\n')}
export const totals = defineProjection({
  name: 'totals',
  into: sqliteTarget('totals.db'),
  from: [${aggregates.map((a) => `A${a}`).join(', ')}],
  tables: ['totals'],
  setup: (db, { tables }) => db.exec(\`CREATE TABLE \${tables.totals} (id TEXT PRIMARY KEY, amount INT)\`),
  on: {
    ${aggregates
      .flatMap((a) =>
        count(EVENTS).map(
          (e) =>
            `'A${a}.E${e}': ({ data }, db, { tables }) => db.prepare(\`UPDATE \${tables.totals} SET amount = ?\`).run(data.amount),`,
        ),
      )
      .join('\n    ')}
  },
})`
}

function overTwo(a: number, c: number): string {
  const data = '{ id, amount, nested: { a: [], b: { c: 1 } } }'
  return `export const c${c} = defineCommand({
  reads: (input: { id: string; other: string; amount: number }) => ({ one: A${a}(input.id), two: A${a}(input.other) }),
  handle: ({ one, two }, { id, amount }, { on }) => {
    if (one.count > amount) return reject('too-many', { count: one.count })
    if (two.status === 'none') return reject('none-${c}')
    return [on.one(A${a}.events.E${c}(${data})), on.two(A${a}.events.E${c}(${data}))]
  },
})`
}

function overOne(a: number, c: number): string {
  return `export const c${c} = defineCommand({
  reads: (input: { id: string; amount: number }) => A${a}(input.id),
  handle: (one, { id, amount }) => {
    if (one.count > amount) return reject('too-many', { count: one.count })
    if (amount < 0) return reject('bad-${c}')
    return A${a}.events.E${c}({ id, amount, nested: { a: [], b: { c: 1 } } })
  },
})`
}

function count(n: number): number[] {
  return [...Array(n).keys()]
}
