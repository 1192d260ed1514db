import { type EventStore, openStore } from 'mneme'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

import { standIn } from '../../../test/stores/kurrentdb/stand-in/server.ts'
import { testDatabase } from '../../../test/stores/postgres/database.ts'
import { testFolder } from '../../../test/stores/sqlite/folder.ts'

/** Opens a new store of each kind that keeps its events outside the process. */
export const stores: Readonly<Record<string, () => Promise<EventStore>>> = {
  SQLite: () => openStore(`sqlite:${join(testFolder(), 'shop.db')}`),
  PostgreSQL: async () => openStore((await testDatabase()).url),
  'KurrentDB (stand-in)': async () => {
    const server = await standIn()
    onTestFinished(() => server.stop())
    return openStore(server.connectionString)
  },
}
