#!/usr/bin/env node
import { once } from 'node:events'
import type { WriteStream } from 'node:tty'

import { EXIT } from './cli/errors.ts'
import { run } from './cli/run.ts'
import { BrokenPipe, type Output } from './cli/terminal.ts'

const ending = new AbortController()
let signals = 0
let endedBy: number = EXIT.interrupted
// The first signal ends the work in order, the second does not wait for anything.
for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(name, () => {
    if (++signals > 1) process.exit(code)
    endedBy = code
    ending.abort()
  })
}

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

const code = await run(process.argv.slice(2), {
  out: outputTo(process.stdout),
  err: outputTo(process.stderr),
  env: process.env,
  pipes: process,
  signal: ending.signal,
})
process.exitCode = code === EXIT.interrupted ? endedBy : code
