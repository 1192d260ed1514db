import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import type { Daemon } from './daemon.ts'

/** Users `postgres` in it have this password. */
interface DataFolder {
  readonly password: string
}

/**
 * Makes a fresh data folder: a copy of the one that `initdb` made first for these binaries in `templates`, the
 * folder of a run. `initdb` takes a second of CPU, the copy a twentieth of it.
 */
export async function makeDataFolder(
  daemon: Daemon,
  binaries: string,
  data: string,
  templates: string | undefined,
): Promise<DataFolder> {
  if (templates === undefined) return initialize(daemon, binaries, data)
  const template = join(templates, createHash('sha256').update(binaries).digest('hex').slice(0, 16))
  if (!existsSync(template)) {
    const own = join(daemon.folder, 'template')
    await initialize(daemon, binaries, own)
    try {
      renameSync(own, template)
    } catch {
      // Another process made it meanwhile.
      rmSync(own, { recursive: true, force: true })
    }
  }
  const { status, stderr } = spawnSync('cp', ['-a', template, data], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`cannot copy ${template}: ${stderr}`)
  return { password: readFileSync(join(data, passwordFile), 'utf8').trim() }
}

/** In the data folder, where a copy keeps it. */
const passwordFile = 'password-of-tests'

async function initialize(daemon: Daemon, binaries: string, data: string): Promise<DataFolder> {
  const password = randomBytes(12).toString('hex')
  const file = daemon.write(passwordFile, `${password}\n`)
  const access = ['--username=postgres', `--pwfile=${file}`, '--auth=scram-sha-256']
  const rest = ['--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions']
  await daemon.run(join(binaries, 'initdb'), [`--pgdata=${data}`, ...access, ...rest])
  renameSync(file, join(data, passwordFile))
  return { password }
}
