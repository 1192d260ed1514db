#!/usr/bin/env bash
# nats-server 2.9.10 (Debian), @nats-io/jetstream 3.4.0.
#
# After the last message of a subject was deleted, the server takes 0 for that subject's last sequence and finds no last
# message of it, although earlier ones are there. It refuses the sequence of the message that is the last one now, and
# accepts 0, "nothing was published yet".
#
# One would guess the sequence of the last message that is left, or still that of the deleted one.
#
# With a subject for each stream of events, erasing the latest event stops every writer that knows the stream, and lets
# one through that believes the stream to be new.
set -euo pipefail
command -v nats-server > /dev/null || apt-get install -y -qq nats-server=2.9.10-1+b3 > /dev/null
work=$(mktemp -d /tmp/finding.XXXXXX)
server=
cleanup() {
  if [ -n "$server" ]; then kill "$server" && wait "$server" || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @nats-io/transport-node@3.4.0 @nats-io/jetstream@3.4.0
NATS_PORT=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
export NATS_PORT
nats-server -a 127.0.0.1 -p "$NATS_PORT" -js -sd "$work/jetstream" > "$work/log" 2>&1 &
server=$!

cat > delete.mjs <<'EOF'
import assert from 'node:assert/strict'
import { connect } from '@nats-io/transport-node'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'

const connection = await connect({ servers: `127.0.0.1:${process.env.NATS_PORT}`, waitOnFirstConnect: true })
const manager = await jetstreamManager(connection)
const js = jetstream(connection)
await manager.streams.add({ name: 'events', subjects: ['account.*'] })
const expecting = (lastSubjectSequence) =>
  js.publish('account.1', 'next', { expect: { lastSubjectSequence } }).then(
    ({ seq }) => `stored as ${seq}`,
    ({ message }) => message,
  )

for (const type of ['opened', 'deposited', 'withdrawn']) await js.publish('account.1', type)
await manager.streams.deleteMessage('events', 3)
const { state } = await manager.streams.info('events', { subjects_filter: 'account.1' })
const outcome = {
  messages: state.subjects['account.1'],
  last: await manager.streams.getMessage('events', { last_by_subj: 'account.1' }),
  expectingTheDeleted: await expecting(3),
  expectingTheLast: await expecting(2),
  expectingNothing: await expecting(0),
}
console.log(outcome)
await connection.close()
assert.deepEqual(outcome, {
  messages: 2,
  last: null,
  expectingTheDeleted: 'wrong last sequence: 0',
  expectingTheLast: 'wrong last sequence: 0',
  expectingNothing: 'stored as 4',
})
EOF
node delete.mjs
