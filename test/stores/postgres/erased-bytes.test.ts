import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

const SECRET = 'Rumpelstilzchen'

describe.skipIf(serverProblem !== undefined)('erased bytes in PostgreSQL', () => {
  test('E1: the bytes of erased events are gone from the table once VACUUM FULL has written it anew', async ({
    skip,
  }) => {
    const database = await testDatabase()
    const store = await database.open()
    const events = Array.from({ length: 20 }, (_, n) => ({ type: 'Told', data: { n, text: SECRET } }))
    await store.append({ stream: 'told', events })
    await store.append({ stream: 'kept', events: [{ type: 'Told', data: { text: 'Schneewittchen' } }] })
    const [row] = await database.query(
      `SELECT current_setting('data_directory') AS folder, pg_relation_filepath('mneme.events') AS path,
        (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS oid`,
    )
    const { folder, path, oid } = row as { folder: string; path: string; oid: string }
    if (!existsSync(join(folder, path))) skip('the files of the server cannot be read here')
    const filesWith = async (text: string) => {
      await database.query('CHECKPOINT')
      const base = join(folder, 'base', oid)
      return readdirSync(base).filter((name) => readFileSync(join(base, name)).includes(text))
    }
    expect(await filesWith(SECRET)).not.toEqual([])
    await store.truncate('told', { before: 20 })
    expect(await filesWith(SECRET)).not.toEqual([])
    await database.query('VACUUM FULL mneme.events')
    expect(await filesWith(SECRET)).toEqual([])
    expect(await filesWith('Schneewittchen')).not.toEqual([])
    await store.append({ stream: 'told', events: events.slice(0, 1), expected: 19 })
  })
})
