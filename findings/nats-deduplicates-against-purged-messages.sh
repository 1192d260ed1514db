#!/usr/bin/env bash
# nats-server 2.9.10 (Debian), @nats-io/jetstream 3.4.0.
#
# After a purge, a message with the id of a purged one is answered with success, `duplicate: true` and the sequence of
# the message that is gone. Nothing is stored. The id alone decides: another subject, another payload, and an expected
# sequence that is wrong get the same answer, because the id is looked up before the expectation.
#
# One would guess that a purge clears what it deduplicates against, and that a failed expectation is always an error.
#
# An import that purges and starts again with event ids as message ids loses its events and sees only successes. A
# writer that relies on the expected sequence takes a conflict for a success if the id was used.
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

cat > purge.mjs <<'EOF'
import assert from 'node:assert/strict'
import { connect } from '@nats-io/transport-node'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'

const connection = await connect({ servers: `127.0.0.1:${process.env.NATS_PORT}`, waitOnFirstConnect: true })
const manager = await jetstreamManager(connection)
const js = jetstream(connection)
await manager.streams.add({ name: 'events', subjects: ['account.*'] })
const publish = async (subject, data, options) => {
  const { seq, duplicate } = await js.publish(subject, data, options)
  return { seq, duplicate }
}

const first = await publish('account.1', 'opened', { msgID: 'e1' })
const conflict = await publish('account.2', 'closed', { msgID: 'e1', expect: { lastSubjectSequence: 99 } })
await manager.streams.purge('events')
const again = await publish('account.1', 'opened', { msgID: 'e1' })
const { messages } = (await manager.streams.info('events')).state
console.log({ first, conflict, again, messages })
await connection.close()
assert.deepEqual(first, { seq: 1, duplicate: false })
assert.deepEqual(conflict, { seq: 1, duplicate: true })
assert.deepEqual(again, { seq: 1, duplicate: true })
assert.equal(messages, 0)
EOF
node purge.mjs
