#!/usr/bin/env bash
# @asyncapi/parser 3.6.6.
#
# References inside a payload's JSON Schema are resolved from the root of the AsyncAPI document, also if the schema has
# an `$id` of its own and says that it is draft-07. `#/$defs/money` is an error, and `#`, a schema that contains itself,
# becomes the whole AsyncAPI document, without any diagnostic.
#
# One would guess that a self-contained schema may be put in as it is, or that both are reported.
#
# Generators of schemas write exactly these two forms. The schema of an event with a recursive part (a tree, a parent)
# is published as "an object with asyncapi, info and channels", and code generated from it is wrong.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund @asyncapi/parser@3.6.6

cat > refs.mjs <<'EOF'
import assert from 'node:assert/strict'
import { Parser } from '@asyncapi/parser'

const $schema = 'http://json-schema.org/draft-07/schema#'
async function parse(schema) {
  const payload = { schemaFormat: 'application/schema+json;version=draft-07', schema: { $schema, ...schema } }
  const text = JSON.stringify({
    asyncapi: '3.0.0',
    info: { title: 'Accounts', version: '1.0.0' },
    channels: { accounts: { address: 'accounts', messages: { Opened: { payload } } } },
  })
  const { document, diagnostics } = await new Parser().parse(text)
  const errors = diagnostics.filter(({ severity }) => severity === 0).map(({ message }) => message)
  return { errors, properties: document?.allMessages().all()[0].payload().json().schema.properties }
}

const definitions = await parse({
  $id: 'https://example.org/opened',
  type: 'object',
  properties: { amount: { $ref: '#/$defs/money' } },
  $defs: { money: { type: 'integer' } },
})
const recursive = await parse({
  $id: 'https://example.org/category',
  type: 'object',
  properties: { name: { type: 'string' }, parent: { $ref: '#' } },
})
const members = Object.keys(recursive.properties?.parent ?? {}).filter((name) => !name.startsWith('x-'))
console.log({ definitions: definitions.errors, recursive: recursive.errors, parentIs: members })
assert.deepEqual(definitions.errors, ["'#/$defs/money' does not exist"])
assert.deepEqual(recursive.errors, [])
assert.deepEqual(members, ['asyncapi', 'info', 'channels'])
EOF
node refs.mjs
