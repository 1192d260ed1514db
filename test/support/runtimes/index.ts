import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { rolldown } from 'rolldown'
import { onDemand } from '../on-demand.ts'

const tools = onDemand('bun@1.4.5', 'deno@2.9.6', 'jest@30.5.2')
/** Why the runtimes cannot be had. */
export const runtimesProblem = tools.problem

// The package `bun` links this one when it is installed with scripts.
const bun = join(tools.folder, `@oven/bun-${process.platform}-${process.arch}/bin/bun`)
const deno = join(tools.folder, '.bin/deno')
const asBundle = ['--experimental-vm-modules', join(tools.folder, 'jest/bin/jest.js'), '--rootDir', '.']

/** How each runner runs a file `contract.test.mjs` in the working folder, and from where its tests come. */
export const runners = {
  'node:test': { command: [process.execPath, '--test', 'contract.test.mjs'], module: 'node:test' },
  Jest: {
    command: [process.execPath, ...asBundle, '--testMatch', '**/contract.test.mjs', '--testTimeout', '60000'],
    module: '@jest/globals',
  },
  Bun: { command: [bun, 'test', '--timeout', '60000', './contract.test.mjs'], module: 'bun:test' },
  Deno: { command: [deno, 'test', '--allow-all', 'contract.test.mjs'], module: 'node:test' },
} as const

/** How a runtime runs a program. */
export const runtimes = {
  Bun: [bun],
  Deno: [deno, 'run', '--allow-all'],
} as const

/** Runs a command in a folder. Resolves with all that it printed; rejects if it fails. */
export async function runIn(folder: string, [program, ...args]: readonly string[]): Promise<string> {
  const env = { ...process.env, NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1' }
  const { stdout, stderr } = await promisify(execFile)(program!, args, {
    ...{ cwd: folder, env, maxBuffer: 64 * 1024 * 1024 },
  })
  return stdout + stderr
}

/** Writes `contract.mjs`, with the library in it, into a folder. */
export async function bundleContract(folder: string): Promise<void> {
  const bundle = await rolldown({
    input: resolve(import.meta.dirname, 'contract.ts'),
    platform: 'node',
    external: ['better-sqlite3', 'pg', '@kurrent/kurrentdb-client'],
    resolve: { conditionNames: ['mneme:source', 'node', 'import'] },
  })
  await bundle.write({ file: join(folder, 'contract.mjs'), codeSplitting: false })
  await bundle.close()
}

/** A test file that runs the suite on a store: `proveMemory` or `proveSqlite`. */
export function contractTest(module: string, prove: string): string {
  return `
    import { describe, test } from '${module}'
    import { ${prove} } from './contract.mjs'
    ${prove}({ describe, test, skip: (name, reason) => test.skip(name + ' (' + reason + ')', () => {}) })`
}

/** How many cases passed, as the summary of any of the runners says. */
export function countPassed(output: string): number {
  const summary = /^[#ℹ] pass (\d+)|^Tests: .*?(\d+) passed|^ *(\d+) pass$|\((\d+) steps\)/m.exec(output)
  return Number(summary?.slice(1).find((count) => count !== undefined))
}
