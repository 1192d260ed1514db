import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'

/** PostgreSQL refuses to run as root, PgBouncer too: then both run as this user. */
export const runsAs = unprivilegedUser()

/** Where an unprivileged user may work too. */
export const temporary =
  [tmpdir(), '/tmp'].find((folder) => !runsAs || succeeds('test', ['-x', folder])) ?? tmpdir()

function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((what) => spawnSync('id', [what, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  return undefined
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { ...runsAs, cwd: '/' }).status === 0
}

/** Without what would lead PostgreSQL's programs elsewhere. */
export function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}
