#!/usr/bin/env bash
# cloudevents 10.0.0, over HTTP on loopback with node:http.
#
# One event, sent in binary and in structured mode, arrives as two different events. In binary mode numbers and booleans
# of extensions become strings, and data that is null arrives as the text 'null'; in structured mode it is gone. In both
# modes `time` is cut to milliseconds and moved to UTC, without a word. The types of extensions are checked in part: 1.5 is
# refused, while an object and 3000000000, which is no 32-bit integer, pass; a `correlationId` is refused for its capital.
#
# One would guess that the mode is a matter of transport, and that what the constructor accepts comes through.
#
# A revision in an extension compares as '10' < '9', a null tombstone becomes a value, and two events of one millisecond
# lose their order.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund cloudevents@10.0.0

cat > modes.mjs <<'EOF'
import assert from 'node:assert/strict'
import http from 'node:http'
import { CloudEvent, HTTP } from 'cloudevents'

const event = {
  id: '1',
  source: '/accounts',
  type: 'Opened',
  time: '2024-01-01T02:00:00.123456789+02:00',
  datacontenttype: 'application/json',
  data: null,
  revision: 10,
  replayed: false,
}
let received
const server = http.createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk
  received = HTTP.toEvent({ headers: request.headers, body }).toJSON()
  response.end()
})
await new Promise((done) => server.listen(0, '127.0.0.1', done))

async function send(mode) {
  const { headers, body } = HTTP[mode](new CloudEvent(event))
  const { port } = server.address()
  const answer = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers, body })
  await answer.text()
  const { time, data, revision, replayed } = received
  return { time, data, revision, replayed }
}
const accepts = (extension) => {
  try {
    new CloudEvent({ ...event, ...extension })
    return true
  } catch {
    return false
  }
}
const binary = await send('binary')
const structured = await send('structured')
const accepted = {
  float: accepts({ amount: 1.5 }),
  object: accepts({ amount: { value: 1 } }),
  large: accepts({ amount: 3_000_000_000 }),
  correlationId: accepts({ correlationId: 'c' }),
}
console.log({ binary, structured, accepted })
server.close()
server.closeAllConnections()
const time = '2024-01-01T00:00:00.123Z'
assert.deepEqual(binary, { time, data: 'null', revision: '10', replayed: 'false' })
assert.deepEqual(structured, { time, data: undefined, revision: 10, replayed: false })
assert.deepEqual(accepted, { float: false, object: true, large: true, correlationId: false })
EOF
node modes.mjs
