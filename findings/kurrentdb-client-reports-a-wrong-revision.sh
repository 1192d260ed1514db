#!/usr/bin/env bash
# @kurrent/kurrentdb-client 1.3.1.
#
# With throwOnAppendFailure=false, a failed append says `nextExpectedRevision: 1n`, wherever the stream stands: the
# client makes a bigint of "has a revision" rather than of the revision. This is the call that it makes of any current
# server if no credentials are given. With credentials it takes an older call, which reports the right revision, as does
# the error that is thrown by default.
#
# One would guess that the revision is the one to decide again on, as its name says.
#
# A writer that tries again with what it was told meets conflicts for ever, or, if the stream stands at 1 by then,
# appends to a history that it has not read.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @kurrent/kurrentdb-client@1.3.1

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

cat > append.cjs <<'EOF'
'use strict'
const assert = require('node:assert/strict')
const { Any } = require('google-protobuf/google/protobuf/any_pb')
const { KurrentDBClient, jsonEvent } = require('@kurrent/kurrentdb-client')
const { generated, serve } = require('./server.cjs')
const { AppendResp, BatchAppendResp } = require(`${generated}streams_pb`)
const { WrongExpectedVersion } = require(`${generated}shared_pb`)
const { Status } = require(`${generated}status_pb`)

// The stream stands at revision 41, whatever is expected.
function batchAppend(call) {
  call.on('data', (request) => {
    const wrong = new WrongExpectedVersion()
    wrong.setCurrentStreamRevision('41')
    wrong.setExpectedStreamPosition('7')
    const details = new Any()
    details.pack(wrong.serializeBinary(), 'event_store.client.WrongExpectedVersion')
    const status = new Status()
    status.setDetails(details)
    const response = new BatchAppendResp()
    response.setCorrelationId(request.getCorrelationId())
    response.setStreamIdentifier(request.getOptions().getStreamIdentifier())
    response.setError(status)
    call.write(response)
  })
  call.on('end', () => call.end())
}
function append(call, answer) {
  call.resume().on('end', () => {
    const wrong = new AppendResp.WrongExpectedVersion()
    wrong.setCurrentRevision('41')
    wrong.setExpectedRevision('7')
    const response = new AppendResp()
    response.setWrongExpectedVersion(wrong)
    answer(null, response)
  })
}

async function main() {
  const server = await serve(['batchappend'], { batchAppend, append })
  const appendTo = async (parameter, options) => {
    const client = KurrentDBClient.connectionString(`kurrentdb://127.0.0.1:${server.port}?tls=false${parameter}`)
    try {
      const event = jsonEvent({ type: 'Deposited', data: {} })
      return (await client.appendToStream('account-1', event, { streamState: 7n, ...options })).nextExpectedRevision
    } catch (error) {
      return `thrown: ${error.actualState}`
    } finally {
      await client.dispose()
    }
  }
  const seen = {
    thrown: await appendTo('', {}),
    returned: await appendTo('&throwOnAppendFailure=false', {}),
    returnedWithCredentials: await appendTo('&throwOnAppendFailure=false', {
      credentials: { username: 'user', password: 'password' },
    }),
  }
  console.log(seen)
  server.stop()
  assert.deepEqual(seen, { thrown: 'thrown: 41', returned: 1n, returnedWithCredentials: 41n })
}
main()
EOF
node append.cjs
