import { finished } from 'node:stream/promises'

import { checkProgram } from '../inspector/program.ts'
import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { nameOf } from './open.ts'
import { version } from '../version.ts'

export interface McpOptions {
  readonly model?: string
}

/** Serves a store to a language model by the Model Context Protocol, until the client goes away. */
export async function mcp({ store, url, pipes, signal }: Work, { model }: McpOptions): Promise<void> {
  if (!pipes) throw new UsageError('a server for a language model needs the standard input and output')
  const program = model === undefined ? undefined : await loadModel(model)
  // Only this verb needs them, and they take longer to load than most verbs to run.
  const [{ serveStdio, StdioServerTransport }, { createMcpServer }] = await Promise.all([
    import('@modelcontextprotocol/server/stdio'),
    import('../mcp/server.ts'),
  ])
  const options = {
    ...{ store, name: nameOf(url), version },
    program: checkProgram({ ...program?.named, needs: program?.needs }),
  }
  const { stdin, stdout } = pipes
  const handle = serveStdio(() => createMcpServer(options), {
    transport: new StdioServerTransport(stdin, stdout),
  })
  try {
    await finished(stdin, { writable: false, signal })
  } finally {
    await handle.close()
  }
}
