import { storeContract } from 'mneme/testing'
import { describe, test } from 'vitest'

import { isFull } from '../support/soak.ts'
import { capabilities, standInRealm } from '../stores/kurrentdb/server.ts'

/**
 * What an older server does otherwise is appending: one stream at a time, by the call for one stream, with positions
 * that are read afterwards, and without keys. Reading, subscribing and deciding send it the same calls as the newest, which
 * `kurrentdb.test.ts` proves; these append under every expectation, repeat, interrupt, read, subscribe and execute once
 * more. The soak (`npm run test:soak`) runs them all.
 */
const groupsOfOlderServer = [
  'appending',
  'expected revisions',
  'several streams',
  'repeated appends',
  'interrupted appends',
  'idempotency keys',
  'where a store stands',
  'snapshots',
  'truncating and deleting streams',
  'deciding on current state',
  'commands under a key',
]

storeContract(
  {
    name: 'kurrentdb, on a stand-in of an older server',
    capabilities: { ...capabilities, severalStreams: false, keys: false },
    create: () => standInRealm('24.10.0'),
  },
  {
    test,
    skip: (name, reason) => test.skip(`${name} (${reason})`),
    describe(title, cases) {
      const isOlder = groupsOfOlderServer.some((group) => title.endsWith(`: ${group}`))
      if (isOlder || isFull) describe(title, cases)
    },
  },
)
