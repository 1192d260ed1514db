import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root } from './markdown.ts'

/**
 * What an `@example` finds declared already, besides what the entry points export. An example that declares or
 * imports one of these names itself has its own.
 */
const PREAMBLE = `
declare const store: EventStore
const Door = defineAggregate({
  name: 'Door',
  events: { Opened: event(), Closed: event<{ by: string }>() },
  initial: () => ({ open: false }),
  apply: { Opened: () => ({ open: true }), Closed: () => ({ open: false }) },
})
const close = defineCommand({
  reads: (input: { door: string; by: string }) => Door(input.door),
  handle: (door, { by }) => (door.open ? Door.events.Closed({ by }) : reject('not-open')),
})
const BankAccount = defineAggregate({
  name: 'BankAccount',
  events: {
    Opened: event<{ owner: string }>(),
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
  },
  initial: () => ({ open: false, balance: 0 }),
  apply: {
    Opened: (state) => ({ ...state, open: true }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
  },
})
const { Opened, Deposited, Withdrawn } = BankAccount.events
const alice = BankAccount('alice')
const bob = BankAccount('bob')
const withdraw = defineCommand({
  reads: (input: { account: string; amount: number }) => BankAccount(input.account),
  handle: (account, { amount }) => {
    if (!account.open) return reject('not-open')
    if (amount > account.balance) return reject('insufficient-funds', { balance: account.balance })
    return Withdrawn({ amount })
  },
})
const transfer = defineCommand({
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: BankAccount(input.from),
    to: BankAccount(input.to),
  }),
  handle: (_, { amount }, { on }) => [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))],
})
const Customer = defineAggregate({
  name: 'Customer',
  events: {
    Registered: event<{ id: string; email: string }>().personal({
      email: (data) => subject('customer', data.id),
    }),
  },
  initial: (): { email?: Sealed<string> } => ({}),
  apply: { Registered: (_state, { email }) => ({ email }) },
})
declare const readModels: ProjectionTarget<SqliteDatabase>
declare const doors: Projection
`

/** The entry points, and which files they are. */
export const entryPoints: Readonly<Record<string, string>> = {
  mneme: 'src/index.ts',
  'mneme/adapter': 'src/adapter/index.ts',
  'mneme/erasure': 'src/erasure/index.ts',
  'mneme/catalogue': 'src/catalogue/index.ts',
  'mneme/history': 'src/history/index.ts',
  'mneme/http': 'src/http/index.ts',
  'mneme/memory': 'src/stores/memory/index.ts',
  'mneme/kurrentdb': 'src/stores/kurrentdb/index.ts',
  'mneme/opentelemetry': 'src/opentelemetry/index.ts',
  'mneme/postgres': 'src/stores/postgres/index.ts',
  'mneme/projections': 'src/projections/index.ts',
  'mneme/reactions': 'src/reactions/index.ts',
  'mneme/sqlite': 'src/stores/sqlite/index.ts',
  'mneme/simulation': 'src/simulation/index.ts',
  'mneme/testing': 'src/testing/index.ts',
}

/** Text to compile as if it were a file of the repository. */
interface VirtualFile {
  /** Its path from the root. */
  readonly path: string
  readonly text: string
}

/** Every `@example` of the sources, as a file of its own that compiles if the example does. */
export function examples(): VirtualFile[] {
  const sources = ts.sys
    .readDirectory(join(root, 'src'), ['.ts'])
    .map((file) => file.slice(root.length + 1).replaceAll('\\', '/'))
    .sort()
  const imports = Object.entries(entryPoints).map(([specifier, path]) => ({
    specifier,
    names: namesIn(path),
  }))
  return sources.flatMap((path) => {
    const texts = examplesIn(readFileSync(join(root, path), 'utf8'))
    return texts.map((text, i) => ({ path: `${path}.example-${i + 1}.ts`, text: asFile(text, imports) }))
  })
}

function examplesIn(source: string): string[] {
  const examples: string[] = []
  for (const [comment] of source.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const text = comment.replace(/^ *\* ?/gm, '')
    const [, ...tagged] = text.split(/^@example\b/m)
    for (const example of tagged) {
      const code = /```ts\n([\s\S]*?)```/.exec(example)?.[1]
      if (code === undefined) throw new Error(`an @example without a block of ts: ${example}`)
      examples.push(code)
    }
  }
  return examples
}

/** The imports stay at the top; the rest goes into a scope of its own, where it may shadow. */
function asFile(
  example: string,
  imports: readonly { specifier: string; names: readonly string[] }[],
): string {
  const own = example.split('\n').filter((line) => line.startsWith('import '))
  const rest = example.split('\n').filter((line) => !line.startsWith('import '))
  const imported = new Set(own.join().match(/\w+/g))
  const given = imports.map(({ specifier, names }) => {
    const others = names.filter((name) => !imported.has(name))
    return `import { ${others.join(', ')} } from '${specifier}'`
  })
  return [...given, ...own, PREAMBLE, 'export async function example() {', ...rest, '}'].join('\n')
}

/** The names that an entry point exports, marked where they are types. */
function namesIn(path: string): string[] {
  const file = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest)
  return file.statements.flatMap((statement) => {
    if (
      ts.isExportDeclaration(statement) &&
      statement.exportClause &&
      ts.isNamedExports(statement.exportClause)
    ) {
      const isType = statement.isTypeOnly
      return statement.exportClause.elements.map(({ name }) => (isType ? `type ${name.text}` : name.text))
    }
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    if (!isExported) return []
    if (ts.isFunctionDeclaration(statement))
      return statement.body && statement.name ? [statement.name.text] : []
    if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement))
      return [`type ${statement.name.text}`]
    return []
  })
}
