import { storeContract } from 'mneme/testing'
import { describe, test } from 'vitest'

import { capabilities, realRealm, realServer, standInRealm } from '../stores/kurrentdb/server.ts'

// On a server that others use, too, reading backwards goes through all that they wrote.
const patient = (name: string, run: () => Promise<void>) => test(name, run, 300_000)
const runner = {
  describe,
  test: patient,
  skip: (name: string, reason: string) => test.skip(`${name} (${reason})`),
}

if (realServer === undefined) {
  storeContract({ name: 'kurrentdb, on the stand-in', capabilities, create: () => standInRealm() }, runner)
} else {
  const create = () => realRealm(realServer!)
  storeContract({ name: 'kurrentdb, on the real server', capabilities, create }, runner)
}
