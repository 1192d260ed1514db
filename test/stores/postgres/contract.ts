import type { ContractRealm } from 'mneme/testing'
import { postgresAdapter, type AdapterSettings } from '../../../src/stores/postgres/adapter.ts'
import { makePool } from '../../../src/stores/postgres/driver.ts'
import type { TestServer } from './server.ts'

let schemas = 0

/** A realm of the contract: a schema of its own, in which each store has a pool of its own. */
export function realmOn(
  server: TestServer,
  url: string,
  { prepare }: Pick<AdapterSettings, 'prepare'>,
): ContractRealm {
  const settings = {
    schema: `contract ${String(schemas++)}`,
    migrate: true,
    standbys: false,
    prepare,
    connectTimeout: 10_000,
    statementTimeout: 30_000,
    busyTimeout: 5_000,
  }
  return {
    connect: async () => {
      const pool = await makePool({ connectionString: url, max: 4 })
      return postgresAdapter(pool, settings, () => pool.end())
    },
    destroy: async () => {
      await server.query(`DROP SCHEMA IF EXISTS "${settings.schema}" CASCADE`, nameIn(url))
    },
  }
}

function nameIn(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1))
}
