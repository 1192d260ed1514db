import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

const TWENTY_MINUTES = 20 * 60_000

/** Properties and races, which are brief in `npm test` and `npm run test:long`. */
const races = [
  'test/contract/properties.test.ts',
  'test/execution/decisions-under-contention.test.ts',
  'test/stores/kurrentdb/stand-in.test.ts',
  'test/contract/kurrentdb-older.test.ts',
  'test/examples/bank.test.ts',
]
const isBrief = process.env.MNEME_SOAK === 'brief'

/** What takes long: one file after the other, for `npm run test:soak`. */
export default mergeConfig(
  { ...base, test: { ...base.test, projects: undefined } },
  defineConfig({
    test: {
      include: ['test/soak/**/*.test.ts', ...(isBrief ? [] : races)],
      fileParallelism: false,
      testTimeout: TWENTY_MINUTES,
      hookTimeout: TWENTY_MINUTES,
      globalSetup: 'test/stores/postgres/shared-server.ts',
      setupFiles: ['test/support/seeded-random.mjs', 'test/stores/postgres/after-file.ts'],
    },
  }),
)
