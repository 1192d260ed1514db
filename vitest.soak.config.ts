import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config.ts'

const twentyMinutes = 20 * 60_000

/** What takes long: one file after the other, for `npm run test:long`. */
export default mergeConfig(
  { ...base, test: { ...base.test, projects: undefined } },
  defineConfig({
    test: {
      include: ['test/soak/**/*.test.ts'],
      fileParallelism: false,
      testTimeout: twentyMinutes,
      hookTimeout: twentyMinutes,
      globalSetup: 'test/stores/postgres/shared-server.ts',
      setupFiles: 'test/stores/postgres/after-file.ts',
    },
  }),
)
