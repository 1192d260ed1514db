#!/usr/bin/env bash
# @valibot/to-json-schema 1.8.0, with Valibot 1.5.0.
#
# With `typeMode: 'output'`, the JSON Schema of an object says that a field with a default may be absent, and that one made by
# `nullish` may be null: it is the same schema as with `typeMode: 'input'`. What `parse` returns always has both, and TypeScript's
# output type says so. Zod's JSON Schema of the output lists them as required.
#
# One would guess that the mode `output` describes what `parse` returns.
#
# A store that keeps the output of a schema publishes by it that a field of its events may be absent, and a comparison of two
# versions does not see that a new field, which older events lack, is demanded.
set -euo pipefail
work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"type":"module"}' > package.json
npm install --loglevel=error --no-audit --no-fund valibot@1.5.0 @valibot/to-json-schema@1.8.0 zod@4.6.7

cat > defaults.mjs <<'EOF'
import assert from 'node:assert/strict'
import { toJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import * as z from 'zod'

const schema = v.object({ id: v.string(), tags: v.optional(v.array(v.string()), []), n: v.nullish(v.number(), 1) })
const output = toJsonSchema(schema, { typeMode: 'output' })
const zod = z.object({ id: z.string(), tags: z.array(z.string()).default([]), n: z.number().default(1) })
const parsed = v.parse(schema, { id: 'a' })
console.log({ parsed, required: output.required, n: output.properties.n })
assert.deepEqual(parsed, { id: 'a', tags: [], n: 1 })
assert.deepEqual(output.required, ['id'])
assert.deepEqual(output, toJsonSchema(schema, { typeMode: 'input' }))
assert.deepEqual(z.toJSONSchema(zod, { io: 'output' }).required, ['id', 'tags', 'n'])
EOF
node defaults.mjs
