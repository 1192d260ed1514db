#!/usr/bin/env bash
# @electric-sql/pglite-socket 0.2.17, @electric-sql/pglite 0.5.14, pg 8.23.1.
#
# All clients of the socket server share one session of PostgreSQL. An advisory lock of one client is granted to another
# one, too, and stays when the client that took it disconnects; a prepared statement's name is taken for all; and a
# notification goes to the client that sends it, not to the one that listens.
#
# One would guess that a server that takes several connections has a session for each: transactions are kept apart.
#
# Tests of an event store on it pass or fail for the wrong reason: a lock is never refused, so two workers get the lease
# of one projection, and a subscriber is not notified.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17 pg@8.23.1

cat > sessions.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'
import pg from 'pg'

const db = await PGlite.create()
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: 5 })
await server.start()
const port = Number(server.getServerConn().split(':').at(-1))
const notified = []
const connect = async (name) => {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' })
  client.on('notification', ({ payload }) => notified.push(`${name}: ${payload}`))
  await client.connect()
  return client
}
const listener = await connect('listener')
const other = await connect('other')

const lease = 'SELECT pg_try_advisory_lock(7) AS granted'
const granted = [await listener.query(lease), await other.query(lease)].map(({ rows }) => rows[0].granted)

await listener.query('LISTEN events')
await other.query("SELECT pg_notify('events', 'appended')")
await sleep(500)

await listener.query({ name: 'read', text: 'SELECT 1' })
const prepared = await other.query({ name: 'read', text: 'SELECT 2' }).catch(({ message }) => message)

await other.query('SELECT pg_advisory_unlock(7)')
await listener.end()
await sleep(200)
const { rows: locks } = await other.query("SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory'")
console.log({ granted, notified, prepared, locksAfterDisconnect: locks[0].n })
await other.end()
await server.stop()
await db.close()
assert.deepEqual(granted, [true, true])
assert.deepEqual(notified, ['other: appended'])
assert.equal(prepared, 'prepared statement "read" already exists')
assert.equal(locks[0].n, 1)
EOF
node sessions.mjs
