#!/usr/bin/env bash
# better-sqlite3 12.11.1.
#
# A transaction function that is async is refused by a TypeError and rolled back, but it is refused after it has begun,
# and it goes on: what it writes after its first await is committed, statement by statement, without a transaction.
#
# One would guess that a call that throws has written nothing.
#
# An append of several events that awaits anything in between (an encryption key, say) reports a failure and leaves
# its later events in the store, without the earlier ones.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund better-sqlite3@12.11.1

cat > append.mjs <<'EOF'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'

const db = new Database(':memory:')
db.exec('CREATE TABLE events (stream TEXT, revision INTEGER, PRIMARY KEY (stream, revision))')
const insert = db.prepare("INSERT INTO events VALUES ('account-1', ?)")
const append = db.transaction(async () => {
  insert.run(0)
  await sleep(1)
  insert.run(1)
})

let thrown
try {
  await append()
} catch (error) {
  thrown = `${error.name}: ${error.message}`
}
const atOnce = db.prepare('SELECT revision FROM events').pluck().all()
await sleep(50)
const later = db.prepare('SELECT revision FROM events').pluck().all()
console.log({ thrown, atOnce, later })
assert.deepEqual(
  { thrown, atOnce, later },
  { thrown: 'TypeError: Transaction function cannot return a promise', atOnce: [], later: [1] },
)
EOF
node append.mjs
