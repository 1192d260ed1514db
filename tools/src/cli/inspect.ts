import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { createInspector } from '../inspector/inspector.ts'
import { serveInspector } from '../inspector/serve.ts'
import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { nameOf } from './open.ts'

export interface InspectOptions {
  readonly model?: string
  readonly port?: number
  readonly open?: boolean
}

/** Serves the inspector on this machine, until Ctrl-C, and prints the link that opens it. */
export async function inspect(
  { store, url, terminal, signal, note }: Work,
  { model, port = 0, open = false }: InspectOptions,
): Promise<void> {
  if (port > 65_535) throw new UsageError(`there is no port ${String(port)}: they end with 65535`)
  const program = model === undefined ? undefined : await loadModel(model)
  const inspector = createInspector({ store, name: nameOf(url), ...program?.named, needs: program?.needs })
  const server = await serveInspector(inspector, port)
  try {
    await terminal.record({ link: server.link }, () => server.link)
    await note('The link opens the inspector, on this machine only. Ctrl-C ends it.')
    if (open) openBrowser(server.link)
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    await server.close()
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
