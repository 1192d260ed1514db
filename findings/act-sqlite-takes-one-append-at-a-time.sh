#!/usr/bin/env bash
# @rotorsoft/act-sqlite 1.19.4 with @rotorsoft/act 1.31.26 and @libsql/client 0.18.0.
#
# Of appends that one process makes at once, to different streams of one file, one succeeds. The others are rejected
# within milliseconds, with an error of the driver's, SQLITE_BUSY or (from the 21st on) TRANSACTION_ACTIVE, and neither
# with the library's ConcurrencyError nor with its StoreError: each commit takes a connection of its own, without a busy
# timeout.
#
# One would guess that a store queues what its own process appends, or waits for the lock.
#
# Two HTTP requests at the same time are enough to lose one of them.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @rotorsoft/act@1.31.26 @rotorsoft/act-sqlite@1.19.4 @libsql/client@0.18.0 zod@4

# Act reads its name, description and author from here.
echo '{"type":"module","name":"finding","version":"1.0.0","description":"-","author":"-","license":"MIT"}' > package.json
cat > appends.mjs <<'EOF'
import assert from 'node:assert/strict'
import { ConcurrencyError, StoreError } from '@rotorsoft/act'
import { SqliteStore } from '@rotorsoft/act-sqlite'

const store = new SqliteStore({ url: 'file:events.db' })
await store.seed()

async function appendAtOnce(callers) {
  const append = (_, i) =>
    store.commit(`account-${callers}-${i}`, [{ name: 'Opened', data: {} }], { correlation: 'c', causation: {} }, -1)
  const outcomes = await Promise.allSettled(Array.from({ length: callers }, append))
  const seen = { succeeded: 0 }
  for (const { reason } of outcomes) {
    if (reason instanceof ConcurrencyError || reason instanceof StoreError) assert.fail(reason)
    const outcome = reason ? reason.code : 'succeeded'
    seen[outcome] = (seen[outcome] ?? 0) + 1
  }
  return seen
}
const two = await appendAtOnce(2)
const many = await appendAtOnce(64)
let events = 0
await store.query(() => void events++, {})
console.log({ two, many, events })
await store.dispose()
assert.deepEqual(two, { succeeded: 1, SQLITE_BUSY: 1 })
assert.deepEqual(Object.keys(many).sort(), ['SQLITE_BUSY', 'TRANSACTION_ACTIVE', 'succeeded'])
assert.equal(many.succeeded, 1)
assert.equal(events, 2)
EOF
node appends.mjs
