#!/usr/bin/env bash
# @kurrent/kurrentdb-client 1.3.1.
#
# Each client loads the system's certificates when it is made, synchronously, also with tls=false: 12 ms of CPU time with
# the 140 certificates of Debian, in which the process does nothing else; 0.2 ms if SSL_CERT_FILE names an empty file.
#
# One would guess that a client without TLS needs no certificates, and that making a client does no work.
#
# Programs that make a client for each request or test, or replace one after a failover, stop for that long each time.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @kurrent/kurrentdb-client@1.3.1
: > empty.pem

cat > clients.mjs <<'EOF'
import assert from 'node:assert/strict'
import { KurrentDBClient } from '@kurrent/kurrentdb-client'

/** Milliseconds of CPU time for one client. */
function cost() {
  const before = process.cpuUsage()
  for (let i = 0; i < 20; i++) KurrentDBClient.connectionString('kurrentdb://127.0.0.1:2113?tls=false')
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 20_000
}

cost()
const system = cost()
process.env.SSL_CERT_FILE = 'empty.pem'
delete process.env.SSL_CERT_DIR
const none = cost()
console.log({ system, none })
assert.ok(system > 5 * none)
process.exit(0)
EOF
node clients.mjs
