import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { programOfReadme } from '../support/readme.ts'
import {
  bundleContract,
  contractTest,
  countPassed,
  runIn,
  runners,
  runtimes,
  runtimesProblem,
} from '../support/runtimes/index.ts'

const root = resolve(import.meta.dirname, '../..')
let folder: string

beforeAll(async () => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
  folder = mkdtempSync(join(tmpdir(), 'mneme-runtimes-'))
  const installed = join(folder, 'node_modules/mneme')
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  await bundleContract(folder)
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

/** Prints all that simulations with some seeds do. Its argument, if any, is where better-sqlite3 is installed. */
const SIMULATION = `
import { createRequire } from 'node:module'
import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { defineProjection } from 'mneme/projections'
import { simulate } from 'mneme/simulation'
import { sqliteTarget } from 'mneme/sqlite'

const installed = process.argv[2]
const driver = installed && ((file) => new (createRequire(installed)('better-sqlite3'))(file))
const Account = defineAggregate({
  name: 'Account',
  events: { Deposited: event(), Withdrawn: event() },
  initial: () => ({ balance: 0 }),
  apply: {
    Deposited: (state, { amount }) => ({ balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ balance: state.balance - amount }),
  },
})
const { Deposited, Withdrawn } = Account.events
const deposit = defineCommand({
  reads: ({ to }) => Account(to),
  handle: (_, { amount }) => Deposited({ amount }),
})
const transfer = defineCommand({
  reads: ({ from, to }) => ({ from: Account(from), to: Account(to) }),
  handle: ({ from }, { amount }, { on }) =>
    from.balance < amount ? reject('too-little') : [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))],
})
const deposits = defineProjection({
  name: 'deposits',
  into: sqliteTarget('bank.db', driver ? { driver } : {}),
  from: [Account],
  tables: ['deposits'],
  setup: (db, { tables }) => db.exec('CREATE TABLE ' + tables.deposits + ' (stream TEXT, amount INT)'),
  on: {
    'Account.Deposited': ({ stream, data }, db, { tables }) => {
      db.prepare('INSERT INTO ' + tables.deposits + ' VALUES (?, ?)').run(stream, data.amount)
    },
  },
})
const bank = {
  seed: 17,
  projections: [deposits],
  workload: ({ pick, integer, happens, uuid }) => ({
    command: happens(0.5)
      ? deposit({ to: pick(['a', 'b']), amount: integer(1, 50) })
      : transfer({ from: pick(['a', 'b']), to: 'c', amount: integer(1, 50) }),
    key: uuid(),
  }),
}
console.log(JSON.stringify(await simulate({ ...bank, runs: 5 })))
const rule = (world) => world.state(Account('a')).balance < 100 || 'an account has more than 100'
await simulate({ ...bank, always: rule }).catch(({ message }) => console.log(message))
`

describe.skipIf(runtimesProblem).each(['Bun', 'Deno'] as const)('on %s', (name) => {
  test('the contract suite passes on the SQLite store', async () => {
    const { command, module } = runners[name]
    writeFileSync(join(folder, 'contract.test.mjs'), contractTest(module, 'proveSqlite'))
    expect(countPassed(await runIn(folder, command))).toBeGreaterThan(200)
  })

  test("the README's program runs", async () => {
    const program = programOfReadme().replaceAll('bank.db', `${name}.db`)
    writeFileSync(join(folder, 'program.mjs'), program)
    expect(await runIn(folder, [...runtimes[name], 'program.mjs'])).toContain('alice has 10 and bob 20')
  })

  test('a seed gives the run that it gives on Node', async () => {
    writeFileSync(join(folder, 'simulate.mjs'), SIMULATION)
    const driver = join(root, 'package.json')
    const onNode = await runIn(folder, [process.execPath, 'simulate.mjs', driver])
    expect(onNode).toContain('an account has more than 100')
    expect(await runIn(folder, [...runtimes[name], 'simulate.mjs'])).toBe(onNode)
  })

  test('three processes that open a new file at once all append to it', async () => {
    writeFileSync(
      join(folder, 'append.mjs'),
      `import { sqliteStore } from 'mneme/sqlite'
       const store = await sqliteStore(process.argv[2])
       const append = (n) => store.append({ stream: 's-' + (n % 4), events: [{ type: 'Happened', data: { n } }] })
       await Promise.all(Array.from({ length: 100 }, (_, n) => append(n)))
       const large = 'x'.repeat(400_000)
       for (let n = 0; n < 5; n++) await append(n).then(() => store.append({ stream: 'large', events: [{ type: 'Happened', data: { large } }] }))
       await store.close()`,
    )
    for (let round = 0; round < 5; round++) {
      const file = `${name}-${String(round)}.db`
      const command = [...runtimes[name], 'append.mjs', file]
      await Promise.all([1, 2, 3].map(() => runIn(folder, command)))
      writeFileSync(
        join(folder, 'count.mjs'),
        `import { sqliteStore } from 'mneme/sqlite'
         const store = await sqliteStore('${file}')
         const counts = { all: 0, large: 0 }
         for await (const { position } of store.readAll()) counts.all++
         for await (const { data } of store.read('large')) counts.large += data.large.length
         console.log(JSON.stringify(counts))
         await store.close()`,
      )
      expect(JSON.parse(await runIn(folder, [...runtimes[name], 'count.mjs']))).toEqual({
        ...{ all: 3 * (100 + 5 + 5), large: 3 * 5 * 400_000 },
      })
    }
  })
})
