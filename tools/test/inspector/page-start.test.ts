import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

import { testFolder } from '../../../test/stores/sqlite/folder.ts'
import type { StateShown } from '../../src/inspector/api.ts'

const start = join(import.meta.dirname, '../../../scripts/start.mjs')

test('npm start -- --inspect shows what the bank has done, with the states of its accounts', async () => {
  const url = `sqlite:${join(testFolder(), 'bank.db')}`
  const child = spawn(process.execPath, [start, '--inspect', '--store', url])
  onTestFinished(() => void child.kill('SIGKILL'))
  let printed = ''
  let link: URL | undefined
  for await (const chunk of child.stdout) {
    printed += String(chunk)
    const found = /http:\/\/127\.0\.0\.1:\d+\/#token=\S+(?=\n)/.exec(printed)
    if (!found) continue
    link = new URL(found[0])
    break
  }
  const response = await fetch(new URL('/api/state', link), {
    method: 'POST',
    body: JSON.stringify({ stream: 'CurrentAccount-mill', revision: 1 }),
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${link!.hash.slice('#token='.length)}`,
    },
  })
  const { state, aggregates } = (await response.json()) as StateShown
  expect(aggregates).toEqual(['CurrentAccount'])
  expect(state.value).toMatchObject({ isOpen: true })
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([143, null])
})

test('npm start -- --inspect needs a store that outlives the bank', async () => {
  const child = spawn(process.execPath, [start, '--inspect', '--store', 'memory:'])
  const [[code]] = (await Promise.all([once(child, 'exit'), once(child.stderr, 'data')])) as [
    [number],
    unknown,
  ]
  expect(code).toBe(1)
})
