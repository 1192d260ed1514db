import { storeContract } from 'mneme/testing'
import { describe, test } from 'vitest'

import { isFull } from '../support/soak.ts'
import { realRealm, realServer, standInRealm } from '../stores/kurrentdb/server.ts'

// On a server that others use, too, reading backwards goes through all that they wrote.
const patient = (name: string, run: () => Promise<void>) => test(name, run, 300_000)
const runner = {
  describe,
  test: patient,
  skip: (name: string, reason: string) => test.skip(`${name} (${reason})`),
}
const capabilities = { settlesAny: false, truncation: true, listsStreams: false }

if (realServer === undefined) {
  storeContract({ name: 'kurrentdb, on the stand-in', capabilities, create: () => standInRealm() }, runner)
} else {
  const create = () => realRealm(realServer!)
  storeContract({ name: 'kurrentdb, on the real server', capabilities, create }, runner)
}

/**
 * What an older server does otherwise is appending: one stream at a time, by the call for one stream, with positions
 * that are read afterwards, and without keys. Reading, subscribing and deciding send it the same calls as the newest,
 * which the groups that are left out prove above; these append under every expectation, repeat, interrupt, read,
 * subscribe and execute once more. The soak (`npm run test:soak`) runs them all.
 */
const groupsOfOlderServer = [
  'appending',
  'expected revisions',
  'several streams',
  'repeated appends',
  'interrupted appends',
  'idempotency keys',
  'where a store stands',
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
    ...runner,
    describe(title, cases) {
      const isOlder = groupsOfOlderServer.some((group) => title.endsWith(`: ${group}`))
      if (isOlder || isFull) describe(title, cases)
    },
  },
)
