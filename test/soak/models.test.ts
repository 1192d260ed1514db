import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'

const isInstalled = [
  ['spin', '-V'],
  ['cc', '--version'],
].every(([command, option]) => spawnSync(command!, [option!]).error === undefined)

describe.skipIf(!isInstalled)('the models of the decisions, in spin', () => {
  test.each(['horizon', 'fence'])('the model %s holds, and its wrong variants are refuted', async (name) => {
    const child = spawn(process.execPath, ['scripts/check-models.mjs', name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'close') as Promise<[number | null]>
    const [output, [status]] = await Promise.all([text(child.stdout), ended])
    expect(status, output).toBe(0)
    expect(output).toMatch(new RegExp(`^ok +${name}: holds`, 'm'))
  })
})
