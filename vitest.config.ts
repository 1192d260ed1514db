import { defineConfig } from 'vitest/config'

export default defineConfig({
  // `mneme` and its subpaths resolve to src: the tests need no build.
  ssr: { resolve: { conditions: ['mneme:source', 'node', 'module', 'development|production'] } },
  // Node 20 has no `using`: lower it.
  oxc: { target: 'es2022' },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/soak/**'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    passWithNoTests: true,
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: 'tsconfig.json' },
  },
})
