import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Tests that compile: `npm run check` runs them. */
const check = [
  'test/types/**/*.test.ts',
  'test/package/**/*.test.ts',
  'test/docs/{snippets,exports,errors,links,contributing}.test.ts',
]
/**
 * Drills: killed and halted processes, servers that stop and are restored, many writers, large data, planted faults. Each
 * takes several CPU seconds; `npm run test:long` runs them, and so does `.ci/run`.
 */
const long = [
  'test/catalogue/tools.test.ts',
  'test/contract/{broken,kurrentdb-older,properties}.test.ts',
  'test/examples/{bank,relays}.test.ts',
  'test/execution/decisions-under-contention.test.ts',
  'test/history/{bank,killed-copy,killed-import}.test.ts',
  'test/projections/paused.test.ts',
  'test/simulation/planted.test.ts',
  'test/stores/*/{claims,deletions,erasure}.test.ts',
  'test/stores/kurrentdb/{in-doubt,resources,stand-in}.test.ts',
  'test/stores/postgres/{locks,opening,reading,restore,standby,subscriptions-lost}.test.ts',
  'test/stores/sqlite/{faults,several-processes,subscriptions}.test.ts',
  'tools/test/inspector/page*.test.ts',
]
/** Tests that need PostgreSQL. */
const servers = [
  'test/stores/postgres/**/*.test.ts',
  'test/projections/**/*.test.ts',
  'test/reactions/postgres.test.ts',
  'test/contract/postgres.test.ts',
  'tools/test/stores.test.ts',
]

/** One process runs file after file and imports what they share once. A file closes what it opened. */
const shared = { isolate: false }
const withPostgres = {
  ...shared,
  globalSetup: 'test/stores/postgres/shared-server.ts',
  setupFiles: 'test/stores/postgres/after-file.ts',
}

/** The files that take longest go first: at the end, one of them would run while the other processors wait. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLongest = ({ moduleId }: TestSpecification) =>
      /contract\/(?:kurrentdb|postgres)\.test/.test(moduleId)
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))]
  }
}

export default defineConfig({
  // `mneme` and its subpaths resolve to src: the tests need no build.
  // Not by the condition `module`, which Node does not know: for bundlers, it may lead to files that Node cannot load.
  ssr: { resolve: { conditions: ['mneme:source', 'node', 'development|production'] } },
  // Node 20 has no `using`: lower it.
  oxc: { target: 'es2022' },
  test: {
    pool: 'forks',
    maxWorkers: '100%',
    sequence: { sequencer: LongestFirst },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: 'unit',
          include: ['{test,tools/test}/**/*.test.ts'],
          exclude: [...servers, ...long, ...check, 'test/soak/**'],
        },
      },
      { extends: true, test: { ...withPostgres, name: 'servers', include: servers, exclude: long } },
      { extends: true, test: { ...withPostgres, name: 'long', include: long } },
      {
        extends: true,
        test: {
          name: 'check',
          include: check,
          // All programs of one process share the files that the compiler has parsed.
          ...shared,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
