import eslint from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const seam = 'take it from src/base/environment.ts, so that a simulation can replace it'
const timers = ['Timeout', 'Interval', 'Immediate'].flatMap((name) => [`set${name}`, `clear${name}`])

const nodeGlobals = ['process', 'console', 'performance', 'setTimeout', 'clearTimeout']

export default defineConfig(
  globalIgnores(['**/dist/', 'build/', '.cache/', 'coverage/', 'test/types/mistakes/']),
  eslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `type` where a shape is closed, `interface` where it is to be implemented: the author's choice.
      '@typescript-eslint/consistent-type-definitions': 'off',
      // As an index signature an interface can be extended, and a hover names it.
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      // `{}` as "nothing more" in an intersection, which is what the types of commands and rejections need.
      '@typescript-eslint/no-empty-object-type': ['error', { allowObjectTypes: 'always' }],
      // With noUncheckedIndexedAccess: where an index is known to be there, `!` says so.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: { 'no-console': 'error' },
  },
  {
    // Time, timers and random numbers. The contract suite is a test: it waits for real stores.
    files: ['src/**/*.ts'],
    ignores: ['src/base/environment.ts', 'src/testing/contract/**'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...[...timers, 'performance'].map((name) => ({ name, message: seam })),
      ],
      'no-restricted-properties': [
        'error',
        ...[
          ['Date', 'now'],
          ['Math', 'random'],
          ['crypto', 'randomUUID'],
          ['crypto', 'getRandomValues'],
          ['process', 'hrtime'],
          ['process', 'uptime'],
          ['AbortSignal', 'timeout'],
          ...[...timers, 'performance', 'crypto'].map((name) => ['globalThis', name]),
        ].map(([object, property]) => ({ object, property, message: seam })),
      ],
      'no-restricted-syntax': [
        'error',
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: seam },
        { selector: "CallExpression[callee.name='Date']", message: seam },
      ],
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: ['node:timers', 'node:timers/promises', 'node:perf_hooks', 'node:crypto'].map((name) => ({
            name,
            message: seam,
            allowTypeImports: true,
          })),
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'examples/**/*.ts', 'bench/**/*.ts'],
    rules: {
      '@typescript-eslint/no-empty-function': 'off',
    },
  },
  {
    files: ['{test,tools/test}/**/*.ts'],
    rules: {
      // Tests call what the types forbid, await what need not be, and assert what is known.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
    },
  },
  {
    files: ['**/*.test-d.ts'],
    rules: {
      '@typescript-eslint/no-unused-vars': 'off',
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
    },
  },
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: {
      globals: Object.fromEntries(nodeGlobals.map((name) => [name, 'readonly'])),
    },
  },
)
