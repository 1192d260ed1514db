import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'

import { Daemon } from './daemon.ts'
import { freePort, type TestServer } from './server.ts'

// Debian has it in /usr/sbin, which is not in the PATH of users.
const env = { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` }
const pgbouncer = spawnSync('/bin/sh', ['-c', 'command -v pgbouncer'], {
  env,
  encoding: 'utf8',
}).stdout?.trim()

/** Why no pooler can be started here. */
export const poolerProblem = pgbouncer ? undefined : 'pgbouncer is not installed'

export interface Pooler {
  /** As that of the server, but through the pooler, and always as the superuser. */
  url(database?: string): string
  destroy(): Promise<void>
}

/**
 * Starts PgBouncer in front of a server: each transaction may run on another connection, and what belongs to a
 * session is not kept. `settings` are of its section `[pgbouncer]`. Destroy it.
 */
export async function startPooler(
  server: TestServer,
  settings: Readonly<Record<string, string>> = {},
): Promise<Pooler> {
  if (!pgbouncer) throw new Error(poolerProblem)
  const behind = new URL(server.url())
  const port = await freePort()
  const daemon = new Daemon('pgbouncer')
  try {
    const all: Record<string, string> = {
      listen_addr: '127.0.0.1',
      listen_port: String(port),
      unix_socket_dir: '',
      // Whoever comes is the user that the line under [databases] names.
      auth_type: 'any',
      pool_mode: 'transaction',
      max_client_conn: '500',
      default_pool_size: '20',
      ...settings,
    }
    const user = `user=${quoted(decodeURIComponent(behind.username))} password=${quoted(server.password)}`
    const lines = [
      '[databases]',
      `* = host=${behind.hostname} port=${server.port} ${user}`,
      '[pgbouncer]',
      ...Object.entries(all).map(([name, value]) => `${name} = ${value}`),
    ]
    const file = daemon.write('pgbouncer.ini', `${lines.join('\n')}\n`)
    await daemon.start(pgbouncer, [file], () => accepts(port))
  } catch (error) {
    await daemon.stop('SIGKILL')
    daemon.remove()
    throw error
  }
  return {
    url(database) {
      const url = new URL(server.url(database))
      url.hostname = '127.0.0.1'
      url.port = String(port)
      return url.href
    },
    async destroy() {
      await daemon.stop('SIGKILL')
      daemon.remove()
    },
  }
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
