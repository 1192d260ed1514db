import { openStore } from 'mneme'
import { copyHistory, followHistory, type CopyProgress, type CopyTransform } from 'mneme/history'

import { loadModule } from '../model.ts'
import type { Work } from './command.ts'
import { EXIT, messageOf, UsageError } from './errors.ts'
import { openExisting } from './open.ts'
import { printableLines } from './terminal.ts'

export interface CopyOptions {
  readonly write?: boolean
  readonly dryRun?: boolean
  readonly verify?: boolean
  readonly follow?: boolean
  readonly transform?: string
}

/** Copies a store into another one, or says what would be copied. Resolves with the exit code. */
export async function copy(work: Work, options: CopyOptions): Promise<number> {
  const { store, args, terminal, signal, note, progress } = work
  const { dryRun = false, verify = false, follow = false } = options
  const [url] = args
  if (url === undefined)
    throw new UsageError('give both URLs: that of the store to read, and that of the store to write')
  if (options.write !== true && !dryRun) {
    throw new UsageError(
      'a copy writes to the second store: give --write, or --dry-run to see what it would do',
    )
  }
  if (follow && (dryRun || verify))
    throw new UsageError('--follow goes with --write alone: verify by another run, once it has ended')
  const transform = options.transform === undefined ? undefined : await loadTransform(options.transform)
  const to = dryRun ? await openExisting(url) : await openStore(url)
  const onProgress = (done: CopyProgress) => {
    progress(
      `${String(done.read)} events read, ${String(done.appended)} written, ${String(Math.floor(done.fraction * 100))} %`,
    )
  }
  try {
    if (follow) {
      const onInterrupted = (error: unknown) =>
        void note(`a store cannot be reached, trying again: ${messageOf(error)}`)
      const copying = followHistory(store, to, { transform, onProgress, onInterrupted, signal })
      await copying.caughtUp()
      await note('caught up: each new event is copied now, until Ctrl-C')
      await copying.ended
      return EXIT.ok
    }
    const { comparison, samples, ...report } = await copyHistory(store, to, {
      transform,
      dryRun,
      verify,
      onProgress,
      signal,
    })
    await terminal.record({ ...report, samples, comparison }, () => {
      const shown = { ...report, ...(samples.length > 0 && { samples }), ...(comparison && { comparison }) }
      return printableLines(JSON.stringify(shown, undefined, 2))
    })
    return comparison?.isSame === false ? EXIT.findings : EXIT.ok
  } finally {
    if (signal.aborted && !dryRun)
      await note('interrupted: what was copied stays. Run the same command again, and it goes on')
    await to.close()
  }
}

async function loadTransform(file: string): Promise<CopyTransform> {
  const loaded = await loadModule(file)
  if (typeof loaded.default === 'function') return loaded.default as CopyTransform
  throw new UsageError(`${file} has no default export that is a function`)
}
