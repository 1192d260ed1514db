import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { programOfReadme } from '../support/readme.ts'
import {
  bundleContract,
  contractTest,
  countPassed,
  runIn,
  runners,
  runtimes,
  runtimesProblem,
} from '../support/runtimes/index.ts'

const root = resolve(import.meta.dirname, '../..')
let folder: string

beforeAll(async () => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
  folder = mkdtempSync(join(tmpdir(), 'mneme-runtimes-'))
  const installed = join(folder, 'node_modules/mneme')
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  await bundleContract(folder)
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe.skipIf(runtimesProblem).each(['Bun', 'Deno'] as const)('on %s', (name) => {
  test('the contract suite passes on the SQLite store', async () => {
    const { command, module } = runners[name]
    writeFileSync(join(folder, 'contract.test.mjs'), contractTest(module, 'proveSqlite'))
    expect(countPassed(await runIn(folder, command))).toBeGreaterThan(200)
  })

  test("the README's program runs", async () => {
    const program = programOfReadme().replaceAll('bank.db', `${name}.db`)
    writeFileSync(join(folder, 'program.mjs'), program)
    expect(await runIn(folder, [...runtimes[name], 'program.mjs'])).toContain('alice has 10 and bob 20')
  })

  test('three processes that open a new file at once all append to it', async () => {
    writeFileSync(
      join(folder, 'append.mjs'),
      `import { sqliteStore } from 'mneme/sqlite'
       const store = await sqliteStore(process.argv[2])
       const append = (n) => store.append({ stream: 's-' + (n % 4), events: [{ type: 'Happened', data: { n } }] })
       await Promise.all(Array.from({ length: 100 }, (_, n) => append(n)))
       const large = 'x'.repeat(400_000)
       for (let n = 0; n < 5; n++) await append(n).then(() => store.append({ stream: 'large', events: [{ type: 'Happened', data: { large } }] }))
       await store.close()`,
    )
    for (let round = 0; round < 5; round++) {
      const file = `${name}-${String(round)}.db`
      const command = [...runtimes[name], 'append.mjs', file]
      await Promise.all([1, 2, 3].map(() => runIn(folder, command)))
      writeFileSync(
        join(folder, 'count.mjs'),
        `import { sqliteStore } from 'mneme/sqlite'
         const store = await sqliteStore('${file}')
         const counts = { all: 0, large: 0 }
         for await (const { position } of store.readAll()) counts.all++
         for await (const { data } of store.read('large')) counts.large += data.large.length
         console.log(JSON.stringify(counts))
         await store.close()`,
      )
      expect(JSON.parse(await runIn(folder, [...runtimes[name], 'count.mjs']))).toEqual({
        ...{ all: 3 * (100 + 5 + 5), large: 3 * 5 * 400_000 },
      })
    }
  })
})
