import { defineConfig } from 'vitest/config'

/** Tests that compile: `npm run check` runs them. */
const check = [
  'test/types/**/*.test.ts',
  'test/package/**/*.test.ts',
  'test/docs/{snippets,exports,errors,links}.test.ts',
]
/** Tests that need PostgreSQL, or processes beside it. */
const servers = [
  'test/stores/postgres/**/*.test.ts',
  'test/projections/**/*.test.ts',
  'test/reactions/postgres.test.ts',
  'test/contract/{postgres,properties}.test.ts',
  'test/examples/bank.test.ts',
  // It counts what a process holds: apart from the files of the unit tests, which leave more.
  'test/stores/kurrentdb/resources.test.ts',
]

export default defineConfig({
  // `mneme` and its subpaths resolve to src: the tests need no build.
  // Not by the condition `module`, which Node does not know: for bundlers, it may lead to files that Node cannot load.
  ssr: { resolve: { conditions: ['mneme:source', 'node', 'development|production'] } },
  // Node 20 has no `using`: lower it.
  oxc: { target: 'es2022' },
  test: {
    pool: 'forks',
    maxWorkers: '100%',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...servers, ...check, 'test/soak/**'],
          // One process runs file after file and imports what they share once: a quarter of the CPU time.
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'servers',
          include: servers,
          // As for the unit tests: a file closes what it opened, so that it disturbs none of those after it.
          isolate: false,
          globalSetup: 'test/stores/postgres/shared-server.ts',
          setupFiles: 'test/stores/postgres/after-file.ts',
        },
      },
      {
        extends: true,
        test: {
          name: 'check',
          include: check,
          // All programs of one process share the files that the compiler has parsed.
          isolate: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
