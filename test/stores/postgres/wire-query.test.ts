import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import { WireQuery, type Call, type Row } from '../../../src/stores/postgres/wire.ts'
import { testDatabase, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'

const call = (name: string, text: string, ...values: Call['values']): Call => ({
  statement: { name, text },
  values,
})
const one = call('one', 'SELECT $1::int + 1', '1')
const faulty = call('faulty', 'SELECT 1 / $1::int', '0')
const unparsed = call('unparsed', 'SELECT nothing FROM nowhere')
const rows = call('rows', 'SELECT n, NULL FROM generate_series(1, $1::int) n', '3')

describe.skipIf(serverProblem)('several statements in one round trip', () => {
  async function connected(database?: TestDatabase) {
    const { url } = database ?? (await testDatabase())
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    onTestFinished(() => client.end())
    return (...calls: Call[]) =>
      new Promise<Row[][]>((resolve, reject) => {
        void client.query(new WireQuery(calls, resolve, reject))
      })
  }

  test('each of several statements gives its rows', async () => {
    const ask = await connected()
    const all = [
      [['2']],
      [
        ['1', null],
        ['2', null],
        ['3', null],
      ],
      [],
      [['2']],
    ]
    for (let i = 0; i < 2; i++) {
      expect(await ask(one, rows, call('none', 'SELECT 1 WHERE false'), one)).toEqual(all)
    }
    expect(await ask(call('', 'SELECT 5'), one, call('', 'SELECT 6'))).toEqual([[['5']], [['2']], [['6']]])
  })

  test('several statements are one transaction, in which each sees what was committed before it', async () => {
    const database = await testDatabase()
    const [ask, other] = [await connected(database), await connected(database)]
    const set = call('set', `SELECT set_config('mneme.until', $1, true)`, '7')
    const current = call('current', `SELECT current_setting('mneme.until', true)`)
    expect(await ask(set, current)).toEqual([[['7']], [['7']]])
    expect(await ask(current)).toEqual([[['']]])
    const xid = call('xid', 'SELECT pg_current_xact_id()::text')
    const snapshot = call('snapshot', `SELECT pg_snapshot_xmax(pg_current_snapshot())::text`)
    await other(call('hold', 'SELECT pg_advisory_lock(1)'))
    const both = ask(snapshot, call('wait', 'SELECT pg_advisory_xact_lock(1)'), snapshot)
    await database.waiting(1)
    await other(xid)
    await other(call('release', 'SELECT pg_advisory_unlock(1)'))
    const [[[before]], , [[after]]] = (await both) as [[[string]], unknown, [[string]]]
    expect(Number(after)).toBeGreaterThan(Number(before))
  })

  test.each([
    ['fails', faulty, /division by zero/],
    ['cannot be parsed', unparsed, /nowhere/],
  ])(
    'if one of several statements %s, so do those behind it, and each can be asked again',
    async (_, bad, message) => {
      const ask = await connected()
      await expect(ask(one, bad, rows)).rejects.toThrow(message)
      expect(await ask(one, rows)).toEqual([
        [['2']],
        [
          ['1', null],
          ['2', null],
          ['3', null],
        ],
      ])
      await expect(ask(one, bad, rows)).rejects.toThrow(message)
      expect(await ask(rows)).toHaveLength(1)
      expect(await ask(one)).toEqual([[['2']]])
    },
  )
})
