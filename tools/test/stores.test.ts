import { openStore } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'

import { standIn } from '../../test/stores/kurrentdb/stand-in/server.ts'
import { testDatabase } from '../../test/stores/postgres/database.ts'
import { serverProblem } from '../../test/stores/postgres/server.ts'
import { mneme, model } from './mneme.ts'

const databases = {
  PostgreSQL: async () => (await testDatabase()).url,
  'KurrentDB (stand-in)': async () => {
    const server = await standIn()
    onTestFinished(() => server.stop())
    return server.connectionString
  },
}

describe.skipIf(serverProblem)('the command line on servers', () => {
  test.each(Object.entries(databases))('reads, folds, counts, follows and copies %s', async (name, open) => {
    const url = await open()
    if (name === 'PostgreSQL') {
      expect(await mneme(['ls', url])).toMatchObject({
        code: 3,
        err: expect.stringContaining('holds no store') as string,
      })
    }
    await using store = await openStore(url)
    const events = [
      { type: 'Account.Opened', data: { owner: 'Ada' } },
      { type: 'Account.Paid', data: { amount: 5 } },
    ]
    await store.append({ stream: 'Account-a', events: events }, { key: 'once' })
    const json = async (...args: string[]) => {
      const { out, err, code } = await mneme([...args, '--json'])
      expect([code, err]).toEqual([0, ''])
      return out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
    }
    expect(await json('read', url, '-t', 'Account.Paid')).toMatchObject([
      { revision: 1, data: { amount: 5 } },
    ])
    expect(await json('tail', url, '-n', '1')).toMatchObject([{ revision: 1 }])
    expect(await json('state', url, 'Account-a', '-m', model)).toMatchObject([{ state: { balance: 5 } }])
    expect(await json('stats', url)).toHaveLength(2)
    if (name === 'PostgreSQL')
      expect(await json('ls', url)).toMatchObject([{ stream: 'Account-a', events: 2 }])
    const other = await databases[name === 'PostgreSQL' ? 'KurrentDB (stand-in)' : 'PostgreSQL']()
    expect(await json('copy', url, other, '--write', '--verify')).toMatchObject([
      { appended: 2, keys: 1, comparison: { isSame: true } },
    ])
  })
})
