import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { sqliteStore } from 'mneme/sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { happened } from '../stores/sqlite/history.ts'

const root = resolve(import.meta.dirname, '../..')
let project: string

/** Both packages as they are packed, in an empty project; what the tools depend on comes from here. */
beforeAll(async () => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js', 'types', 'tools'], { cwd: root })
  project = mkdtempSync(join(tmpdir(), 'mneme-tools-'))
  for (const folder of [root, join(root, 'tools')]) {
    execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', project], {
      cwd: folder,
      stdio: 'pipe',
    })
  }
  const tarballs = readdirSync(project)
  for (const name of ['mneme', 'mneme-tools']) {
    const into = join(project, 'node_modules', name)
    mkdirSync(into, { recursive: true })
    const tarball = tarballs.find((file) => /^(.*)-\d/.exec(file)?.[1] === name)!
    execFileSync('tar', ['-xzf', join(project, tarball), '-C', into, '--strip-components=1'])
  }
  const manifest = join(project, 'node_modules/mneme-tools/package.json')
  const { dependencies } = JSON.parse(readFileSync(manifest, 'utf8')) as {
    dependencies: Record<string, string>
  }
  // Node 20 has no SQLite of its own.
  for (const name of [...Object.keys(dependencies), 'better-sqlite3']) {
    const link = join(project, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    const [installed] = ['tools/node_modules', 'node_modules'].filter((folder) =>
      existsSync(join(root, folder, name)),
    )
    symlinkSync(join(root, installed!, name), link)
  }
  const store = await sqliteStore(join(project, 'bank.db'))
  const events = Array.from({ length: 1_000 }, (_, i) => happened(i))
  for (let i = 0; i < 10; i++) await store.append({ stream: 's', events })
  await store.close()
}, 600_000)

afterAll(() => {
  rmSync(project, { recursive: true, force: true })
})

const cli = () => join(project, 'node_modules/mneme-tools/dist/cli.js')

test('the packed command line lists streams, and ends silently once its reader has gone', () => {
  const shell = (line: string) => execFileSync('sh', ['-c', line], { cwd: project, encoding: 'utf8' })
  const mneme = `"${process.execPath}" "${cli()}"`
  expect(shell(`${mneme} ls sqlite:bank.db --json`)).toContain('"events":10000')
  expect(shell(`{ ${mneme} read sqlite:bank.db; echo "ended with $?" >&2; } 2>&1 >/dev/null | cat`)).toBe(
    'ended with 0\n',
  )
  const cut = shell(
    `{ ${mneme} read sqlite:bank.db; echo "ended with $?" >&2; } 2>errors | head -n 1; cat errors`,
  )
  expect(cut.split('\n').slice(1)).toEqual(['ended with 0', ''])
})

test('what it writes for a shell asks it for its commands', () => {
  const mneme = (...args: string[]) => execFileSync(process.execPath, [cli(), ...args], { encoding: 'utf8' })
  expect(mneme('complete', 'bash')).toContain('mneme complete --')
  expect(mneme('complete', '--', 're')).toMatch(/^read\t/)
  expect(mneme('complete', '--', 'ls', '--ca')).toMatch(/^--category\t/)
})

test('Ctrl-C ends it with 130', async () => {
  const child = spawn(process.execPath, [cli(), 'tail', 'sqlite:bank.db', '-n', '1', '--follow'], {
    cwd: project,
  })
  await Promise.race([once(child.stdout, 'data'), once(child, 'close')])
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
})

test('the packed inspector serves its page', async () => {
  const child = spawn(process.execPath, [cli(), 'inspect', 'sqlite:bank.db', '--json'], { cwd: project })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { link } = JSON.parse(String(line)) as { link: string }
  const page = await (await fetch(link)).text()
  for (const file of ['page.js', 'page.css', 'icon.svg']) {
    expect(page).toContain(`./${file}`)
    expect((await fetch(new URL(file, link))).status, file).toBe(200)
  }
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
})

test('a language model is answered on standard output, and its going away ends the command', async () => {
  const child = spawn(process.execPath, [cli(), 'mcp', 'sqlite:bank.db'], { cwd: project })
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]()
  const ask = async (method: string, params: object) => {
    child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })}\n`)
    const { value } = (await answers.next()) as { value: string }
    return (JSON.parse(value) as { result: unknown }).result
  }
  const client = {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  }
  expect(await ask('initialize', client)).toMatchObject({ serverInfo: { name: 'mneme' } })
  expect(await ask('tools/call', { name: 'list_streams', arguments: {} })).toMatchObject({
    structuredContent: { streams: [{ stream: 's', events: 10_000 }] },
  })
  child.stdin.end()
  expect(await once(child, 'close')).toEqual([0, null])
})
