import type { ContractRealm } from 'mneme/testing'
import { postgresAdapter, type AdapterSettings } from '../../../src/stores/postgres/adapter.ts'
import { makePool, type PostgresPool } from '../../../src/stores/postgres/driver.ts'
import type { TestServer } from './server.ts'

/**
 * Realms of the contract in one database: each has a schema of its own, in which each store has a pool of its own. Schemas,
 * emptied and with another identity, and pools are used again by later cases: to make them takes longer than most cases.
 */
export class ContractRealms {
  readonly #server: TestServer
  readonly #url: string
  readonly #prepare: boolean
  readonly #schemas: string[] = []
  readonly #pools: PostgresPool[] = []
  #count = 0

  /** @param url of the database, also through a pooler. */
  constructor(server: TestServer, url: string, { prepare }: Pick<AdapterSettings, 'prepare'>) {
    this.#server = server
    this.#url = url
    this.#prepare = prepare
  }

  create(): ContractRealm {
    const schema = this.#schemas.pop() ?? `contract ${String(this.#count++)}`
    const settings = {
      schema,
      migrate: true,
      standbys: false,
      prepare: this.#prepare,
      connectTimeout: 10_000,
      statementTimeout: 30_000,
      busyTimeout: 5_000,
    }
    return {
      connect: async () => {
        const pool = this.#pools.pop() ?? (await makePool({ connectionString: this.#url, max: 4 }))
        return postgresAdapter(pool, settings, async () => {
          this.#pools.push(pool)
        })
      },
      destroy: async () => {
        await this.#server.query(emptied(`"${schema}"`), nameIn(this.#url))
        this.#schemas.push(schema)
      },
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#pools.splice(0).map((pool) => pool.end()))
  }
}

/** Makes a store's schema what it was when it was made, but for its identity. */
function emptied(schema: string): string {
  return `TRUNCATE ${schema}.events, ${schema}.keys, ${schema}.settled, ${schema}.horizon, ${schema}.snapshots;
    INSERT INTO ${schema}.horizon VALUES (-1);
    SELECT setval('${schema}.positions', 1);
    UPDATE ${schema}.meta SET value = gen_random_uuid() WHERE name = 'identity'`
}

function nameIn(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1))
}
