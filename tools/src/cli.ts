#!/usr/bin/env node
import { once } from 'node:events'
import type { WriteStream } from 'node:tty'

import { run } from './cli/run.ts'
import { BrokenPipe, type Output } from './cli/terminal.ts'

const ending = new AbortController()
let interrupts = 0
process.on('SIGINT', () => {
  // The second Ctrl-C does not wait for anything.
  if (++interrupts > 1) process.exit(130)
  ending.abort()
})

function outputTo(stream: WriteStream): Output {
  let broken: Error | undefined
  stream.on('error', (error: NodeJS.ErrnoException) => {
    broken ??= error.code === 'EPIPE' ? new BrokenPipe() : error
  })
  const check = () => {
    if (broken) throw broken
  }
  return {
    async write(text) {
      check()
      // `once` rejects with the error that is kept above.
      if (!stream.write(text)) await once(stream, 'drain').catch(() => undefined)
      check()
    },
    get columns() {
      return stream.isTTY ? stream.columns : undefined
    },
  }
}

process.exitCode = await run(process.argv.slice(2), {
  out: outputTo(process.stdout),
  err: outputTo(process.stderr),
  env: process.env,
  signal: ending.signal,
})
