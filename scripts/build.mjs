// Builds what runs and what is published. Each build removes what an earlier one left.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')

/** Everything that is not a file of ours: Node's modules, the drivers, and `mneme` as programs import it. */
const external = [/^node:/, /^[^./]/]

/**
 * dist/*.js: one file for each subpath in "exports" of package.json, and in dist/shared what several of them use, so
 * that a class is the same class whatever subpath it came by. Takes a second.
 */
export async function buildJavaScript() {
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: entries((source) => source),
    external,
    platform: 'node',
    transform: { target: 'es2022' },
    cwd: root,
  })
  clear(dist, '.js')
  await bundle.write({
    dir: dist,
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name].js',
    minifyInternalExports: false, // names stay as in the sources where they cross from one file to another
  })
  await bundle.close()
}

/** dist/*.d.ts: the compiler's declarations, which fail on any type error, bundled in the same way. */
export async function buildTypes() {
  const folder = join(root, '.cache', 'declarations')
  mkdirSync(folder, { recursive: true })
  clear(folder, '.d.ts')
  const tsc = [
    'node_modules/typescript/lib/tsc.js',
    '-p',
    'tsconfig.build.json',
    '--outDir',
    folder,
    '--pretty',
  ]
  const { status } = spawnSync(process.execPath, tsc, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error('the sources have type errors, listed above')

  const [{ rollup }, { dts }] = await Promise.all([import('rollup'), import('rollup-plugin-dts')])
  const declarationOf = (source) => join(folder, relative('src', source)).replace(/\.ts$/, '.d.ts')
  const bundle = await rollup({ input: entries(declarationOf), external, plugins: [dts()] })
  clear(dist, '.d.ts')
  await bundle.write({
    dir: dist,
    entryFileNames: '[name].d.ts',
    chunkFileNames: ({ name }) => `shared/${name.replace(/\.d$/, '')}.d.ts`,
    minifyInternalExports: false,
  })
  await bundle.close()
}

/** build/**: examples and benchmarks file by file, because some of them start another one as a process. */
export async function buildPrograms() {
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: ['examples/bank', 'examples/shop', 'bench'].flatMap((folder) =>
      readdirSync(join(root, folder))
        .filter((name) => name.endsWith('.ts'))
        .map((name) => join(folder, name)),
    ),
    external,
    platform: 'node',
    transform: { target: 'es2022' }, // Node 20 and 22 have no `using`
    cwd: root,
  })
  clear(join(root, 'build'), '.js')
  await bundle.write({
    dir: join(root, 'build'),
    preserveModules: true,
    preserveModulesRoot: root,
    entryFileNames: '[name].js',
    sourcemap: true,
  })
  await bundle.close()
}

/** tools/dist: the command line and the inspector, which import `mneme` as any program does, and the inspector's page. */
export async function buildTools() {
  const folder = join(root, 'tools')
  clear(join(folder, 'dist'), '.js')
  await buildPage()
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: { cli: 'src/cli.ts', index: 'src/index.ts' },
    external,
    platform: 'node',
    transform: { target: 'es2022' },
    cwd: folder,
  })
  await bundle.write({
    dir: join(folder, 'dist'),
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name].js',
    minifyInternalExports: false,
  })
  await bundle.close()
}

/** tools/dist/index.d.ts: the declarations of the inspector. */
export async function buildToolsTypes() {
  const [{ rollup }, { dts }] = await Promise.all([import('rollup'), import('rollup-plugin-dts')])
  const folder = join(root, 'tools')
  const bundle = await rollup({ input: join(folder, 'src/index.ts'), external, plugins: [dts()] })
  await bundle.write({ file: join(folder, 'dist/index.d.ts') })
  await bundle.close()
}

/** tools/dist/page.js: the files of the inspector's page as a module, so that a bundled program has them. */
async function buildPage() {
  const { build } = await import('vite')
  const { output } = await build({
    configFile: false,
    root: join(root, 'tools', 'page'),
    base: './',
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      write: false,
      target: 'es2022',
      modulePreload: false,
      assetsInlineLimit: 0,
      rolldownOptions: { output: { entryFileNames: 'page.js', assetFileNames: 'page.[ext]' } },
    },
  })
  const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }
  const inPublic = readdirSync(join(root, 'tools', 'page', 'public')).map((fileName) => ({
    fileName,
    source: readFileSync(join(root, 'tools', 'page', 'public', fileName), 'utf8'),
  }))
  const files = [...output, ...inPublic].map(({ fileName, code, source }) => {
    const type = types[fileName.split('.').at(-1)]
    return [fileName, { type: `${type}; charset=utf-8`, text: String(code ?? source) }]
  })
  mkdirSync(join(root, 'tools', 'dist'), { recursive: true })
  const module = `export const files = ${JSON.stringify(Object.fromEntries(files), null, 1)}\n`
  writeFileSync(join(root, 'tools', 'dist', 'page.js'), module)
}

/** For each subpath that is published, by its name: its source, or what `fileOf` makes of that. */
function entries(fileOf) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return Object.fromEntries(
    Object.entries(exports)
      .filter(([, target]) => target['mneme:source'])
      .map(([path, target]) => [path === '.' ? 'index' : path.slice(2), fileOf(target['mneme:source'])]),
  )
}

function clear(folder, extension) {
  if (!existsSync(folder)) return
  for (const file of readdirSync(folder, { recursive: true })) {
    if (file.endsWith(extension) || file.endsWith(`${extension}.map`)) rmSync(join(folder, file))
  }
}
