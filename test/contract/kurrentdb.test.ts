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
const capabilities = { settlesAny: false, truncation: true }

if (realServer === undefined) {
  storeContract({ name: 'kurrentdb, on the stand-in', capabilities, create: () => standInRealm() }, runner)
} else {
  const create = () => realRealm(realServer!)
  storeContract({ name: 'kurrentdb, on the real server', capabilities, create }, runner)
}

// An older server appends by another call, one stream at a time; reading is the same code and the same calls as above.
const isReading = (name: string) => /^[RP]\d: /.test(name)
storeContract(
  {
    name: 'kurrentdb, on a stand-in of an older server',
    capabilities: { ...capabilities, severalStreams: false, keys: false },
    create: () => standInRealm('24.10.0'),
  },
  {
    ...runner,
    test: (name, run) =>
      isReading(name) && !isFull
        ? runner.skip(name, 'reading is the same on both; npm run test:soak has it')
        : patient(name, run),
  },
)
