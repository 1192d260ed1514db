import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { createInspector } from '../inspector/inspector.ts'
import { serveInspector } from '../inspector/serve.ts'
import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { nameOf, targetAt } from './open.ts'

export interface InspectOptions {
  readonly model?: string
  readonly readModels?: readonly string[]
  readonly port?: number
  readonly open?: boolean
  readonly write?: boolean
}

/** Serves the inspector on this machine, until Ctrl-C, and prints the link that opens it. */
export async function inspect(
  { store, url, terminal, signal, note }: Work,
  { model, readModels: given, port = 0, open = false, write = false }: InspectOptions,
): Promise<void> {
  if (port > 65_535) throw new UsageError(`there is no port ${String(port)}: they end with 65535`)
  const program = model === undefined ? undefined : await loadModel(model)
  const isDatabase = /^(?:sqlite|file|postgres|postgresql):/.test(url)
  const readModels = (given ?? (isDatabase ? [url] : [])).map(targetAt)
  const { named, needs } = program ?? {}
  const inspector = createInspector({ store, name: nameOf(url), ...named, needs, readModels, write })
  const server = await serveInspector(inspector, port)
  try {
    await terminal.record({ link: server.link }, () => server.link)
    await note('The link opens the inspector, on this machine only. Ctrl-C ends it.')
    if (open) openBrowser(server.link)
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    await server.close()
    for (const target of readModels) await target.close()
  }
}

/** Opens a link if there is a screen; the link was printed in any case. */
function openBrowser(link: string): void {
  const isWithoutScreen =
    process.platform === 'linux' &&
    process.env.DISPLAY === undefined &&
    process.env.WAYLAND_DISPLAY === undefined
  if (isWithoutScreen) return
  const [command, ...args] = OPENERS[process.platform] ?? ['xdg-open']
  const opener = spawn(command!, [...args, link], { stdio: 'ignore', detached: true })
  opener.once('error', () => undefined)
  opener.unref()
}

const OPENERS: Readonly<Record<string, readonly string[]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}
