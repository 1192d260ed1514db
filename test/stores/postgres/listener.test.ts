import { describe, expect, onTestFinished, test } from 'vitest'

import { Connections } from '../../../src/stores/postgres/connection.ts'
import { makePool } from '../../../src/stores/postgres/driver.ts'
import { Listener } from '../../../src/stores/postgres/listener.ts'
import { SharedPool } from '../../../src/stores/postgres/shared-pool.ts'
import { Statements } from '../../../src/stores/postgres/statements.ts'
import { testDatabase, until } from './database.ts'
import { serverProblem } from './server.ts'
import { DEFAULT_SETTINGS } from './unpolled.ts'

describe.skipIf(serverProblem)('listening to notifications', () => {
  test('a listener whose own notification came too late tries again after 5 s, then twice as long each time', async () => {
    const database = await testDatabase()
    await database.open()
    const pool = await makePool({ connectionString: database.url, max: 3 })
    onTestFinished(() => pool.end())
    let isDeaf = true
    pool.on('connect', (client) => {
      const emitter = client as unknown as { emit(name: string, ...all: unknown[]): boolean }
      const emit = emitter.emit.bind(client)
      emitter.emit = (name, ...all) => (isDeaf && name === 'notification') || emit(name, ...all)
    })
    const pauses: number[] = []
    const listener = new Listener(SharedPool.of(pool), {
      // The notification is never too late, unless it is withheld.
      get probeMs() {
        return isDeaf ? 1 : 60_000
      },
      clock: {
        now: () => 0,
        after: (milliseconds, callback) => {
          pauses.push(milliseconds)
          if (pauses.length === 10 || (pauses.length > 10 && milliseconds >= 5_000)) isDeaf = false
          const soon = setImmediate(callback)
          return () => {
            clearImmediate(soon)
          }
        },
      },
    })
    let heard = 0
    const listening = {
      statements: new Statements('"mneme"'),
      channel: 'mneme_test',
      own: 'own',
      heard: () => heard++,
    }
    const connections = new Connections(pool, DEFAULT_SETTINGS)
    listener.start(listening, connections)
    onTestFinished(() => listener.stop(listening))
    await until(() => listener.isHearing(listening), 'it hears again')
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600, 600].map((seconds) => seconds * 1_000))
    await database.query(`SELECT pg_notify('mneme_test', 'news')`)
    await until(() => heard > 1, 'a notification of another session is heard')

    // It begins with the shortest pause again.
    isDeaf = true
    await database.query(
      `SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE locktype = 'advisory' AND mode = 'ShareLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    await until(() => pauses.length > 11 && listener.isHearing(listening), 'it hears once more')
    expect(pauses.at(-1)).toBe(5_000)
  })
})
