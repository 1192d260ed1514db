import { storeContract } from 'mneme/testing'
import { afterAll, beforeAll, describe, test } from 'vitest'

import { ContractRealms } from '../stores/postgres/contract.ts'
import { poolerProblem, startPooler, type Pooler } from '../stores/postgres/pooler.ts'
import { ownServerProblem, startServer, systemBinaries, type TestServer } from '../stores/postgres/server.ts'

const runner = { describe, test, skip: (name: string, reason: string) => test.skip(`${name} (${reason})`) }
const system = systemBinaries()

/** What the ordinary suite proves on the newest major, on others and through a pooler. */
prove('the oldest major of the system', system ? undefined : 'no PostgreSQL is installed', {
  start: () => startServer({ binaries: system!.folder }),
  prepare: true,
})
prove('a transaction pooler', ownServerProblem ?? poolerProblem, {
  start: startServer,
  pooler: startPooler,
  prepare: false,
})

interface Subject {
  readonly start: () => Promise<TestServer>
  readonly pooler?: (server: TestServer) => Promise<Pooler>
  readonly prepare: boolean
}

function prove(name: string, problem: string | undefined, { start, pooler, prepare }: Subject): void {
  describe.skipIf(problem)(problem ? `${name} (skipped: ${problem})` : name, () => {
    let server: TestServer
    let through: Pooler | undefined
    let realms: ContractRealms

    beforeAll(async () => {
      server = await start()
      through = await pooler?.(server)
      const database = new URL(await server.createDatabase()).pathname.slice(1)
      realms = new ContractRealms(server, (through ?? server).url(database), { prepare })
    })

    afterAll(async () => {
      await realms.end()
      await through?.destroy()
      await server.destroy()
    })

    const create = () => Promise.resolve(realms.create())
    storeContract({ name: 'postgres', create }, runner)
  })
}
