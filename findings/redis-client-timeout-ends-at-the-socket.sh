#!/usr/bin/env bash
# @redis/client 6.3.1, redis-server 7.0.15 (Debian).
#
# `commandOptions.timeout` and an AbortSignal end a command only while it waits to be written. If the server has stopped
# answering (here it is halted), the command is in the socket's buffer at once, and its promise settles neither at the
# timeout nor when the signal is aborted. When the server goes on, both commands take effect. Only `socketTimeout`, which is
# off by default, ends them, by closing the connection.
#
# One would guess that a timeout of 200 ms rejects after 200 ms, and that an aborted signal rejects with an AbortError.
#
# A relay that awaits XADD with a timeout stands still as long as the server does, and its events are appended twice if it
# gave them up by a race of its own and sent them again.
set -euo pipefail
command -v redis-server > /dev/null || apt-get install -y -qq redis-server > /dev/null
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @redis/client@6.3.1

cat > timeout.mjs <<'EOF'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from '@redis/client'

const probe = net.createServer().listen(0, '127.0.0.1')
await new Promise((done) => probe.on('listening', done))
const { port } = probe.address()
await new Promise((done) => probe.close(done))
const server = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', ''], { stdio: 'ignore' })

async function connect(options, socket) {
  const client = createClient({ socket: { port, host: '127.0.0.1', ...socket }, ...options })
  client.on('error', () => {})
  return client.connect()
}
const outcomeOf = (command) =>
  command.then(
    () => 'resolved',
    (error) => error.constructor.name,
  )
const within = (milliseconds, outcome) => Promise.race([outcome, delay(milliseconds, 'pending')])
try {
  const client = await connect({ commandOptions: { timeout: 200 } })
  const strict = await connect({}, { socketTimeout: 500, reconnectStrategy: false })
  await client.xAdd('events', '*', { id: 'e1' })
  server.kill('SIGSTOP')
  const timed = outcomeOf(client.xAdd('events', '*', { id: 'e2' }))
  const signal = AbortSignal.timeout(200)
  const aborted = outcomeOf(client.withAbortSignal(signal).xAdd('events', '*', { id: 'e3' }))
  const ended = outcomeOf(strict.xAdd('events', '*', { id: 'e4' }))
  const halted = {
    timed: await within(3_000, timed),
    aborted: await within(1, aborted),
    socketTimeout: await within(1, ended),
  }
  server.kill('SIGCONT')
  const later = { timed: await within(3_000, timed), aborted: await within(3_000, aborted) }
  const entries = await client.xRange('events', '-', '+')
  const ids = entries.map(({ message }) => message.id).filter((id) => id !== 'e4')
  console.log({ halted, later, ids })
  client.destroy()
  assert.deepEqual(halted, { timed: 'pending', aborted: 'pending', socketTimeout: 'SocketTimeoutError' })
  assert.deepEqual(later, { timed: 'resolved', aborted: 'resolved' })
  assert.deepEqual(ids, ['e1', 'e2', 'e3'])
} finally {
  server.kill('SIGKILL')
}
EOF
node timeout.mjs
