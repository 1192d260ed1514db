import { execFileSync, spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { beforeAll, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
}, 600_000)

test("given/when/then works under Node's own test runner, with its messages and diffs", () => {
  const args = ['--test', '--test-reporter=tap', 'test/testing/given.mjs']
  const { stdout, status } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  expect(status).toBe(1)
  expect(stdout).toMatch(/^# pass 2$/m)
  expect(stdout).toMatch(/^# fail 1$/m)
  expect(stdout).toContain(
    'expected the command to record Door.Opened, but it was rejected with open-already',
  )
  expect(stdout).toMatch(/expected:[^]*type: 'Door.Opened'[^]*actual:[^]*reason: 'open-already'/)
})
