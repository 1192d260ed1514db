import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

/** Where packages lie that only some checks need, or why they could not be installed. */
export interface OnDemand {
  /** The folder of node_modules. */
  readonly folder: string
  readonly problem?: string
}

/** Installs packages, each as `name@version`, under .cache/tools, where they stay. */
export function onDemand(...packages: readonly string[]): OnDemand {
  const prefix = join(root, '.cache/tools', packages.join('+').replaceAll('/', '-'))
  const folder = join(prefix, 'node_modules')
  const isThere = packages.every((name) => existsSync(join(folder, name.slice(0, name.lastIndexOf('@')))))
  if (isThere) return { folder }
  mkdirSync(prefix, { recursive: true })
  const args = ['install', '--prefix', prefix, '--no-save', '--no-package-lock', '--ignore-scripts']
  try {
    const isWindows = process.platform === 'win32'
    execFileSync('npm', [...args, ...packages], { cwd: prefix, stdio: 'pipe', shell: isWindows })
    return { folder }
  } catch {
    return { folder, problem: `${packages.join(' and ')} could not be installed: is there a network?` }
  }
}
