import { setTimeout as delay } from 'node:timers/promises'
import type { AppendResult, EventStore, StreamWrite } from 'mneme'
import { postgresStore, type PostgresOptions } from 'mneme/postgres'
import { afterEach, describe, expect, onTestFinished } from 'vitest'

import { differences, none, storedIn } from './postgres/ledger.ts'
import { Tail } from './postgres/processes.ts'
import { isBrief, ledgerFolder, soakServer, test } from './postgres/soak.ts'
import { happened, historyOf } from '../stores/sqlite/history.ts'

// Synchronous replication to a standby that is gone: commits wait until somebody lifts the requirement.
const server = soakServer()

const statementTimeout = 800
const isolations = isBrief ? ['read committed'] : ['read committed', 'serializable']

/** Commits heed it once the checkpointer has told them, a moment after the server has the setting. */
async function demand(): Promise<void> {
  await server().configure({ synchronous_standby_names: 'gone' })
  for (let isHeeded = false; !isHeeded;) {
    const commit = server().query(`SELECT pg_logical_emit_message(true, 'commit', '')`)
    isHeeded = (await toWaiting('pg_cancel_backend', commit)) > 0
  }
}

async function lift(): Promise<void> {
  await server().query('ALTER SYSTEM RESET synchronous_standby_names')
  await server().query('SELECT pg_reload_conf()')
  while ((await waiting()).length > 0) await delay(10)
}

afterEach(lift)

/** The sessions whose commits wait for the standby. */
async function waiting(): Promise<number[]> {
  const rows = await server().query("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
  return rows.map(({ pid }) => pid as number)
}

/** Has the server do something to every session that waits, until what is to come has come. */
async function toWaiting(
  what: 'pg_cancel_backend' | 'pg_terminate_backend',
  outcome: Promise<unknown>,
): Promise<number> {
  let isOver = false
  let done = 0
  const end = () => (isOver = true)
  void outcome.then(end, end)
  while (!isOver) {
    for (const pid of await waiting()) {
      await server().query(`SELECT ${what}(${pid})`)
      done++
    }
    await delay(5)
  }
  return done
}

async function opened(url: string, options: PostgresOptions = {}): Promise<EventStore> {
  const store = await postgresStore(url, { statementTimeout, busyTimeout: statementTimeout / 4, ...options })
  onTestFinished(async () => {
    await lift()
    await store.close()
  })
  return store
}

/** STORE_BUSY: the first attempt still has its streams. */
const REFUSED = /^(OUTCOME_UNKNOWN|STORE_BUSY)$/

const codeOf = (append: Promise<AppendResult>) =>
  append.then(
    ({ repeated }) => (repeated ? 'REPEATED' : 'APPENDED'),
    (error: unknown) => (error as { code: string }).code,
  )

test('nothing is acknowledged, reading goes on, and all goes on when the requirement is lifted', async () => {
  const started = performance.now()
  const url = await server().createDatabase()
  const [store, other] = [await opened(url), await opened(url)]
  const file = ledgerFolder()
  await store.append({ stream: 'before', events: [happened(), happened()] })
  const tail = new Tail(url, { name: 'tail', seen: file('tail') })
  await tail.said('reading')
  await demand()

  const appends: StreamWrite[] = Array.from({ length: 24 }, (_, i) => ({
    stream: `s-${i}`,
    events: [happened(i)],
    expected: i % 3 === 0 ? 'any' : 'none',
  }))
  const sent = performance.now()
  let isOver = false
  const outcomes = Promise.all(
    appends.map(async (append, i) => {
      await delay(i * 10)
      const code = await codeOf(store.append(append))
      return { code, waited: performance.now() - sent - i * 10 }
    }),
  ).finally(() => (isOver = true))
  let readings = 0
  while (!isOver) {
    for (const reader of [store, other]) {
      expect(await reader.head('before')).toBe(1)
      expect(await reader.head('s-1')).toBe('none')
      expect(await historyOf(reader)).toHaveLength(2)
      expect(await reader.logHead()).toBeDefined()
    }
    if (!isOver) readings++
    await delay(20)
  }
  for (const { code, waited } of await outcomes) {
    expect(code).toBe('OUTCOME_UNKNOWN')
    expect(waited).toBeGreaterThan(1.9 * statementTimeout)
  }
  expect(readings).toBeGreaterThan(3)
  expect(await storedIn(server(), url)).toHaveLength(2)
  // Once more, and it is still so.
  const again = await Promise.all(appends.slice(0, 4).map((append) => codeOf(other.append(append))))
  for (const code of again) expect(code).toMatch(REFUSED)

  await lift()
  const late = await Promise.all(appends.map((append) => codeOf(store.append(append))))
  appends.forEach(({ expected }, i) => {
    // Without an exact expectation, it is another append.
    expect(late[i]).toMatch(expected === 'any' ? /APPENDED/ : /REPEATED/)
  })
  expect(await codeOf(store.append({ stream: 'after', events: [happened()] }))).toBe('APPENDED')
  const log = await storedIn(server(), url)
  for (const { stream, expected } of appends) {
    const there = log.filter((event) => event.stream === stream)
    if (expected === 'none') expect(there).toHaveLength(1)
  }
  tail.say('stop')
  expect(await tail.result()).toEqual({ failures: {} })
  expect(differences(tail, log)).toEqual(none)
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(
    `standby (PostgreSQL ${server().major}): 0 of ${appends.length + 4} acknowledged, ${readings} readings meanwhile, ${seconds} s`,
  )
})

describe.each(isolations)('with %s by default', (isolation) => {
  describe.each(['pg_cancel_backend', 'pg_terminate_backend'] as const)(
    'after %s of the waiting one',
    (what) => {
      const event = () => [happened()]
      const kinds: Record<string, { write: StreamWrite | StreamWrite[]; key?: string }> = {
        'an exact append': { write: { stream: 's', events: event(), expected: 'none' } },
        'an append to any revision': { write: { stream: 's', events: event() } },
        'an append over two streams': {
          write: [
            { stream: 's', events: event(), expected: 'none' },
            { stream: 't', events: event() },
          ],
        },
        'an append with a key': { write: { stream: 's', events: event() }, key: 'k' },
      }
      test.each(Object.entries(kinds))('%s is not acknowledged', async (_, { write, key }) => {
        const url = await server().createDatabase()
        const database = new URL(url).pathname.slice(1)
        await server().query(`ALTER DATABASE ${database} SET default_transaction_isolation = '${isolation}'`)
        const store = await opened(url)
        await store.append({ stream: 'before', events: [happened()] })
        await demand()
        const outcome = codeOf(store.append(write, { key }))
        expect(await toWaiting(what, outcome)).toBeGreaterThan(0)
        expect(await outcome).toBe('OUTCOME_UNKNOWN')
        const isRepeatable = key !== undefined || [write].flat()[0]!.expected === 'none'
        if (isRepeatable) {
          // It is there, but on this server alone: whoever repeats it has to wait for the standby as well.
          expect(await codeOf(store.append(write, { key }))).toMatch(REFUSED)
        }
        await lift()
        if (isRepeatable) expect(await codeOf(store.append(write, { key }))).toBe('REPEATED')
        const log = await storedIn(server(), url)
        expect(log.map(({ stream }) => stream).sort()).toEqual(
          ['before', ...[write].flat().map(({ stream }) => stream as string)].sort(),
        )
      })
    },
  )
})

test('a warning of somebody else makes no outcome unknown', async () => {
  const url = await server().createDatabase()
  const store = await opened(url)
  await server().query(
    `CREATE FUNCTION mneme.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      RAISE WARNING 'of a trigger'; RETURN NULL;
    END $$;
    CREATE TRIGGER warn AFTER INSERT ON mneme.events EXECUTE FUNCTION mneme.warn()`,
    new URL(url).pathname.slice(1),
  )
  expect(await codeOf(store.append({ stream: 's', events: [happened()] }))).toBe('APPENDED')
})
