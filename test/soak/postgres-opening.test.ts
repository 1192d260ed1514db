import { postgresStore } from 'mneme/postgres'
import { expect } from 'vitest'

import { TestDatabase, until } from '../stores/postgres/database.ts'
import { Worker } from '../stores/postgres/processes.ts'
import { isBrief, soakServer, test } from './postgres/soak.ts'

const server = soakServer()
const rounds = isBrief ? 1 : 8

test(`ten processes and ten stores of this one open an empty database at once, ${rounds} times: one identity`, async () => {
  for (let round = 0; round < rounds; round++) {
    const database = new TestDatabase(server(), await server().createDatabase())
    const workers = Array.from({ length: 10 }, () => new Worker('open', database.url))
    await until(() => workers.every(({ lines }) => lines.includes('ready')), 'all are ready', 60_000)
    for (const worker of workers) worker.say('go')
    const stores = await Promise.all(Array.from({ length: 10 }, () => postgresStore(database.url)))
    const identities = await Promise.all([
      ...stores.map((store) => store.identity()),
      ...workers.map((worker) => worker.result<string>()),
    ])
    await Promise.all(stores.map((store) => store.close()))
    expect(new Set(identities).size).toBe(1)
    await server().dropDatabase(database.url)
  }
})
