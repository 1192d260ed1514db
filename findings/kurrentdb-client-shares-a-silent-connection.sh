#!/usr/bin/env bash
# @kurrent/kurrentdb-client 1.3.1, @grpc/grpc-js 1.14.7.
#
# A second client with the same settings uses the connection of the first one, also if nothing comes through it any
# more: grpc-js pools connections for the whole process, by address and options. The second client's first call, which
# asks for the server's features, has no deadline, so an append with a deadline of 1,000 ms ends after the keep-alive's
# two times 10,000 ms. A client that differs in any option of the channel, as in keepAliveInterval, connects anew.
#
# One would guess that a new client means a new connection, and that the deadline of a call holds for the call.
#
# The usual way out of a hanging connection after a failover, to replace the client, waits on the same dead connection.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @kurrent/kurrentdb-client@1.3.1 @grpc/grpc-js@1.14.7

cat > server.cjs <<'EOF'
'use strict'
// A server of just these calls, in the client's own generated messages.
const grpc = require('@grpc/grpc-js')
const generated = '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/'
const { StreamsService } = require(`${generated}streams_grpc_pb`)
const { ServerFeaturesService } = require(`${generated}serverfeatures_grpc_pb`)
const { SupportedMethods, SupportedMethod } = require(`${generated}serverfeatures_pb`)

exports.generated = generated
exports.serve = async (methods, calls) => {
  const server = new grpc.Server()
  server.addService(ServerFeaturesService, {
    getSupportedMethods(call, answer) {
      const supported = new SupportedMethods()
      supported.setEventStoreServerVersion('25.0.0')
      for (const name of methods) {
        const method = new SupportedMethod()
        method.setServiceName('event_store.client.streams.Streams')
        method.setMethodName(name)
        supported.addMethods(method)
      }
      answer(null, supported)
    },
  })
  server.addService(StreamsService, { read() {}, append() {}, batchAppend() {}, delete() {}, tombstone() {}, ...calls })
  const port = await new Promise((done, fail) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? fail(error) : done(port),
    ),
  )
  return { port, stop: () => server.forceShutdown() }
}
EOF

cat > silent.cjs <<'EOF'
'use strict'
const assert = require('node:assert/strict')
const net = require('node:net')
const { KurrentDBClient, jsonEvent } = require('@kurrent/kurrentdb-client')
const { generated, serve } = require('./server.cjs')
const { AppendResp } = require(`${generated}streams_pb`)

function append(call, answer) {
  call.resume().on('end', () => {
    const success = new AppendResp.Success()
    success.setCurrentRevision('0')
    const response = new AppendResp()
    response.setSuccess(success)
    answer(null, response)
  })
}

async function main() {
  const server = await serve([], { append })
  const connections = []
  const network = net.createServer((client) => {
    const upstream = net.connect(server.port, '127.0.0.1')
    for (const socket of [client, upstream]) socket.on('error', () => {})
    client.pipe(upstream).pipe(client)
    connections.push([client, upstream])
  })
  await new Promise((done) => network.listen(0, '127.0.0.1', done))
  const connect = (parameter = '') =>
    KurrentDBClient.connectionString(`kurrentdb://127.0.0.1:${network.address().port}?tls=false${parameter}`)
  const appendBy = async (client) => {
    const start = performance.now()
    const event = jsonEvent({ type: 'Opened', data: {} })
    const outcome = await client.appendToStream('account-1', event, { deadline: 1_000 }).then(
      () => 'appended',
      ({ constructor }) => `failed: ${constructor.name}`,
    )
    const seconds = Math.round((performance.now() - start) / 1_000)
    return { outcome, seconds, connections: connections.length }
  }

  const first = connect()
  const before = await appendBy(first)
  for (const [client, upstream] of connections) {
    client.unpipe().pause()
    upstream.unpipe().pause()
  }
  const silent = await appendBy(first)
  const [alike, different] = await Promise.all([appendBy(connect()), appendBy(connect('&keepAliveInterval=10001'))])
  console.log({ before, silent, alike, different })
  assert.deepEqual(before, { outcome: 'appended', seconds: 0, connections: 1 })
  assert.deepEqual(silent, { outcome: 'failed: DeadlineExceededError', seconds: 1, connections: 1 })
  assert.deepEqual(different, { outcome: 'appended', seconds: 0, connections: 2 })
  assert.match(alike.outcome, /^failed/)
  assert.ok(alike.seconds > 5, `${alike.seconds} s`)
  assert.equal(alike.connections, 2)
  process.exit(0)
}
main()
EOF
node silent.cjs
