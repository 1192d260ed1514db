// Holds src to its import rules:
//   - the folders are layers: a file imports its own folder and the folders that its layer may import, listed below;
//   - no circle of files, types included;
//   - nothing imports a package, except the drivers, which their store loads lazily, and OpenTelemetry's API.

import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const [base, model, adapter, store] = ['base', 'model', 'adapter', 'store']
const face = '(root)' // src/index.ts and src/open-store.ts

/** What each folder may import, whether it may use Node's modules, and which modules it loads lazily. */
const layers = {
  [base]: { imports: [], node: false, lazy: ['node:async_hooks', 'node:crypto', 'node:diagnostics_channel'] },
  [model]: { imports: [base], node: false, lazy: [] },
  [adapter]: { imports: [base, model], node: false, lazy: [] },
  [store]: { imports: [base, model, adapter], node: false, lazy: [] },
  execution: { imports: [base, model, adapter, store], node: false, lazy: [] },
  projections: { imports: [base, model, adapter, store], node: false, lazy: [] },
  reactions: { imports: [base, model, adapter, store, 'execution', 'projections'], node: false, lazy: [] },
  catalogue: { imports: [base, model, 'projections', 'reactions'], node: false, lazy: [] },
  history: { imports: [base, model, adapter, store, 'execution', 'projections'], node: false, lazy: [] },
  'stores/memory': { imports: [base, model, adapter, store], node: false, lazy: [] },
  'stores/sqlite': {
    imports: [base, model, adapter, store],
    node: true,
    lazy: ['node:sqlite', 'better-sqlite3'],
  },
  'stores/postgres': { imports: [base, model, adapter, store], node: true, lazy: ['pg'] },
  'stores/kurrentdb': {
    imports: [base, model, adapter, store],
    node: true,
    lazy: ['@kurrent/kurrentdb-client'],
  },
  erasure: { imports: [base, model, adapter, store], node: true, lazy: [] },
  testing: {
    imports: [
      base,
      model,
      adapter,
      store,
      'execution',
      'projections',
      'reactions',
      'erasure',
      'history',
      'stores/memory',
    ],
    node: true,
    lazy: [],
  },
  simulation: {
    imports: [
      ...[base, model, adapter, store, 'execution', 'projections', 'reactions'],
      ...['stores/memory', 'stores/sqlite'],
    ],
    node: true,
    lazy: [],
  },
  // What a program can import, and the tools that know nothing of events.
  http: { imports: [face, base], node: false, lazy: [] },
  opentelemetry: { imports: [face, base, model, 'projections', 'reactions'], node: true, lazy: [] },
  [face]: { imports: [base, model, adapter, store, 'execution'], node: false, lazy: [] },
}

/** What a folder may import beside Mneme and Node: its subpath is of use only to those who have it. */
const packages = { opentelemetry: ['@opentelemetry/api'] }

const problems = []
const graph = new Map()
for (const file of sources()) {
  const found = importsOf(file)
  graph.set(
    file,
    found.flatMap(({ specifier, isLazy }) =>
      specifier.startsWith('.') && !isLazy ? [targetOf(file, specifier)] : [],
    ),
  )
  for (const one of found) {
    const problem = judge(file, one)
    if (problem) problems.push(`${file}:${one.line}: '${one.specifier}': ${problem}`)
  }
}
for (const circle of circles()) problems.push(`circle: ${circle.join(' -> ')}`)
for (const problem of problems) console.error(problem)
console.log(`imports: ${graph.size} files, ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)

function judge(file, { specifier, isLazy }) {
  const own = folderOf(file)
  const rules = layers[own]
  if (!rules) return `src/${own} is not listed in scripts/check-imports.mjs`
  if (specifier.startsWith('.')) {
    const target = targetOf(file, specifier)
    if (!target.startsWith('src/')) return 'src imports only what is in src'
    const other = folderOf(target)
    if (other === own || (isLazy && own === face) || rules.imports.includes(other)) return undefined
    return `src/${own} does not import src/${other}`
  }
  if (packages[own]?.includes(specifier)) return undefined
  const isOf = (driver) => specifier === driver || specifier.startsWith(`${driver}/`)
  if (rules.lazy.some(isOf)) return isLazy ? undefined : 'load this driver lazily'
  if (specifier === 'node:sqlite') return 'only src/stores/sqlite loads a SQLite driver'
  if (specifier.startsWith('node:')) return rules.node ? undefined : 'this part of src runs without Node'
  if (builtinModules.includes(specifier)) return 'write the node: prefix'
  return 'the library depends on no package'
}

/** The folder under src; of the stores, the folder of each one. */
function folderOf(file) {
  const folders = file.split('/').slice(1, -1)
  if (folders.length === 0) return face
  return folders[0] === 'stores' ? folders.slice(0, 2).join('/') : folders[0]
}

function targetOf(file, specifier) {
  return posix.join(posix.dirname(file), specifier)
}

/** Each circle once, by a depth-first search that reports what leads back into its own path. */
function circles() {
  const found = []
  const done = new Set()
  const visit = (file, path) => {
    const start = path.indexOf(file)
    if (start >= 0) return found.push([...path.slice(start), file])
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}

function importsOf(file) {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(root, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  )
  const found = []
  const add = (literal, isLazy) => {
    if (!literal || !ts.isStringLiteralLike(literal)) return
    const { line } = source.getLineAndCharacterOfPosition(literal.getStart())
    found.push({ specifier: literal.text, isLazy, line: line + 1 })
  }
  const visit = (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier, false)
    else if (ts.isImportTypeNode(node)) add(node.argument.literal, false)
    else if (ts.isCallExpression(node) && isLoading(node.expression)) add(node.arguments[0], true)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isLoading(callee) {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true
  const name = ts.isPropertyAccessExpression(callee) ? callee.name.text : callee.getText()
  return ['require', 'getBuiltinModule', 'builtinModule'].includes(name)
}

function sources() {
  const all = ts.sys.readDirectory(join(root, 'src'), ['.ts'])
  return all.map((file) => relative(root, file).split('\\').join('/')).sort()
}
