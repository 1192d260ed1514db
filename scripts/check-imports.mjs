// Holds src to its import rules:
//   - the core (src/*.ts, and src/execution behind it) imports statically only itself; of Node it loads only node:crypto, lazily;
//   - a folder under src imports the core, itself, and the folders named for it below;
//   - nothing imports a package, but for the drivers, which src/sqlite, src/postgres and src/kurrentdb load lazily.

import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const core = '(core)'
const folders = {
  [core]: { imports: ['execution'], node: false, lazy: ['node:crypto'] },
  execution: { imports: [core], node: false, lazy: [] },
  kurrentdb: { imports: [core], node: true, lazy: ['@kurrent/kurrentdb-client'] },
  memory: { imports: [core], node: false, lazy: [] },
  postgres: { imports: [core], node: true, lazy: ['pg'] },
  projections: { imports: [core], node: false, lazy: [] },
  sqlite: { imports: [core], node: true, lazy: ['node:sqlite', 'better-sqlite3'] },
  testing: { imports: [core, 'memory'], node: true, lazy: [] },
}

const problems = []
let files = 0
for (const file of sources()) {
  files += 1
  for (const found of importsOf(file)) {
    const problem = judge(file, found)
    if (problem) problems.push(`${file}:${found.line}: '${found.specifier}': ${problem}`)
  }
}
for (const problem of problems) console.error(problem)
console.log(`imports: ${files} files, ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)

function judge(file, { specifier, isLazy }) {
  const own = folderOf(file)
  const rules = folders[own]
  if (!rules) return `src/${own} is not listed in scripts/check-imports.mjs`
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file), specifier)
    if (!target.startsWith('src/')) return 'src imports only what is in src'
    const other = folderOf(target)
    if (other === own || isLazy || rules.imports.includes(other)) return undefined
    return own === core
      ? 'the core never imports what is built on it'
      : `src/${own} does not import src/${other}`
  }
  const isOf = (driver) => specifier === driver || specifier.startsWith(`${driver}/`)
  if (rules.lazy.some(isOf)) return isLazy ? undefined : 'load this driver lazily'
  if (specifier === 'node:sqlite') return 'only src/sqlite loads a SQLite driver'
  if (specifier.startsWith('node:')) return rules.node ? undefined : 'this part of src runs without Node'
  if (builtinModules.includes(specifier)) return 'write the node: prefix'
  return 'the library depends on no package'
}

function folderOf(file) {
  const parts = file.split('/')
  return parts.length > 2 ? parts[1] : core
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
  return ['require', 'getBuiltinModule'].includes(name)
}

function sources() {
  const all = ts.sys.readDirectory(join(root, 'src'), ['.ts'])
  return all.map((file) => relative(root, file).split('\\').join('/')).sort()
}
