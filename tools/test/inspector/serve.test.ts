import { sqliteStore } from 'mneme/sqlite'
import { request, type RequestOptions } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'

import { testFolder } from '../../../test/stores/sqlite/folder.ts'
import { nameOf } from '../../src/cli/open.ts'
import { mneme, model } from '../mneme.ts'

/** Asks a server as a client does that names another host than the one it asks. */
async function get(link: URL, options: RequestOptions): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(link, options, ({ statusCode }) => resolve(statusCode))
    asked.on('error', reject)
    asked.end()
  })
}

test('mneme inspect prints a link to this machine with a token, and ends with Ctrl-C', async () => {
  const file = join(testFolder(), 'bank.db')
  const store = await sqliteStore(file)
  await store.append({ stream: 'Account-a', events: [{ type: 'Account.Opened', data: { owner: 'Ada' } }] })
  const ending = new AbortController()
  const answers: unknown[] = []
  const noted = async () => {
    const link = new URL(printed.trim())
    const token = link.hash.slice('#token='.length)
    link.hash = ''
    const ask = (headers: Record<string, string>) =>
      fetch(new URL('api/streams', link), {
        method: 'POST',
        body: '{}',
        headers: { 'Content-Type': 'application/json', ...headers },
      })
    const asked = await ask({ Authorization: `Bearer ${token}` })
    answers.push(link.hostname, asked.status, await asked.json())
    const headers = { Host: 'evil.example' }
    answers.push((await ask({})).status, await get(link, { headers }))
    answers.push(await get(link, { headers, path: `//${link.host}/` }))
    ending.abort()
  }
  let printed = ''
  const running = mneme(['inspect', `sqlite:${file}`, '-m', model], {
    signal: ending.signal,
    wrote: (text) => (printed += text),
    noted,
  })
  expect(await running).toMatchObject({ code: 130 })
  expect(answers).toEqual([
    '127.0.0.1',
    200,
    { streams: [{ stream: 'Account-a', events: 1, revision: 0 }] },
    401,
    421,
    421,
  ])
  await store.close()
})

test('the page calls a store by its file, or by its host and database, and never by a password', () => {
  expect(nameOf('sqlite:/var/lib/bank.db')).toBe('bank.db')
  expect(nameOf('postgres://ann:secret@db.example:5433/bank')).toBe('db.example:5433/bank')
  expect(nameOf('kurrentdb://admin:changeit@localhost:2113?tls=false')).toBe('localhost:2113')
})
