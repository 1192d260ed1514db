import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'

import { happened } from '../sqlite/history.ts'
import { testDatabase } from './database.ts'
import { serverProblem, startServer, systemBinaries } from './server.ts'
import { listening, Subscriber } from './subscriber.ts'

const rewound = { code: 'HISTORY_REWOUND', isRetryable: false }
const system = systemBinaries()

describe.skipIf(serverProblem)('a store that is restored beneath its subscribers', () => {
  test.each(['nothing is appended anew', 'others have appended as much anew'])(
    'a store that is restored to an earlier point ends its subscriptions with an error if %s',
    async (after) => {
      const database = await testDatabase()
      const [writer, store] = [await database.open(), await database.open()]
      for (let i = 0; i < 10; i++) await writer.append({ stream: 's', events: [happened(i)] })
      const subscribers = [{}, { categories: ['other'] }, { from: 'end' as const }].map(
        (options) => new Subscriber(store, options),
      )
      await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
      await listening(database, 1)
      const { checkpoint } = subscribers[1]!.subscription
      const again =
        'SELECT mneme.append_one($$t$$, -3, gen_random_uuid(), 5000, gen_random_uuid(), $$X$$, 1, $${}$$, $${}$$);'
      await database.query(`
        BEGIN;
        DELETE FROM mneme.events WHERE revision >= 5;
        SELECT setval('mneme.positions', (SELECT max(position) >> 16 FROM mneme.events));
        ${after.startsWith('nothing') ? '' : again.repeat(20)}
        COMMIT`)
      for (const subscriber of subscribers) expect(await subscriber.failed()).toMatchObject(rewound)
      // A program that never saw the lost events is refused their checkpoint, too.
      const anew = new Subscriber(await database.open(), { from: checkpoint! })
      expect(await anew.failed()).toMatchObject(rewound)
    },
  )
})

describe.skipIf(!system)('a dump that is restored beneath a subscriber', () => {
  test('a dump that lacks events which a subscriber has seen ends its subscription with an error', async () => {
    const server = await startServer({ binaries: system!.folder })
    onTestFinished(() => server.destroy())
    const database = await testDatabase(server)
    const [writer, store] = [await database.open(), await database.open()]
    for (let i = 0; i < 10; i++) await writer.append({ stream: 's', events: [happened(i)] })
    const dump = spawnSync(join(system!.folder, 'pg_dump'), ['--clean', '--schema=mneme', database.url], {
      encoding: 'utf8',
    })
    expect([dump.status, dump.stderr]).toEqual([0, ''])
    const restore = () => {
      const psql = spawnSync(
        join(system!.folder, 'psql'),
        ['-q', '-1', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', database.url],
        { input: dump.stdout, encoding: 'utf8' },
      )
      expect([psql.status, psql.stderr]).toEqual([0, ''])
    }
    const subscriber = new Subscriber(store)
    await subscriber.has(10)
    // The very point at which it stands.
    restore()
    await writer.append({ stream: 's', events: [happened(10)] })
    await subscriber.has(11)
    restore()
    expect(await subscriber.failed()).toMatchObject(rewound)
  })
})
