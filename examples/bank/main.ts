import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { openStore } from 'mneme'
import { runProjections } from 'mneme/projections'

import { check, readDeclined } from './check.ts'
import { bold, red, withoutPassword } from './format.ts'
import { showProgress } from './progress.ts'
import { readModelsOf } from './read-models.ts'
import { report, reportCheck, reportReadModels } from './report.ts'
import { run } from './run.ts'
import { startSecondProcess } from './second-process.ts'
import { Tally } from './tally.ts'
import { tellerAt } from './teller.ts'
import { openTransactions } from './transactions.ts'

const HELP = `A bank carries out a file of transactions and keeps what happened in an event store.

  npm start -- [FILE] [--store URL] [--inspect]

  FILE          CSV, one transaction a line; examples/bank/transactions.csv where left out
  --store URL   where the events are kept; sqlite:bank.db where left out
                  sqlite:FILE                    a SQLite file, made where there is none
                  postgres://user@host/database  a PostgreSQL database, which is there;
                                                 its password may stand in PGPASSWORD
                  kurrentdb://host:2113          a KurrentDB server, 26.1 or newer; ?tls=false
                                                 behind it where it is insecure
                  memory:                        this process alone, gone at its end
  --inspect     afterwards, look at what happened in a browser, until Ctrl-C
  --help        this text

Run it again, and it finds its work done. Delete bank.db to begin anew. Read models are kept
beside the events, or in bank-read-models.db where the store keeps no tables.
Paths are relative to the folder of package.json.`

async function main({ file, store: url }: Arguments): Promise<void> {
  const lines = await openTransactions(file)
  const store = await openStore(url)
  const readModels = readModelsOf(url)
  try {
    const running = await runProjections(store, readModels.projections, {
      onFailure: ({ message }, { name }) => console.error(red(`read model ${name}: ${message}`)),
    })
    try {
      // What is in memory cannot be shared with a second process.
      const second = url === 'memory:' ? undefined : startSecondProcess(url)
      const tellers = [tellerAt(store), ...(second ? [second.teller] : [])]
      const place = withoutPassword(url)
      console.log(bold(`${file} into ${place}, by ${second ? 'two processes' : 'one process'}`))

      const interrupt = new AbortController()
      // Once: a second Ctrl-C ends the program at once.
      process.once('SIGINT', () => interrupt.abort())
      const { signal } = interrupt
      const tally = new Tally()
      const started = performance.now()
      const endProgress = showProgress(tally, started)
      try {
        const declined = await readDeclined(store)
        await run(lines, { tellers, tally, declined, signal })
      } finally {
        endProgress()
        second?.stop()
      }
      report(tally, (performance.now() - started) / 1000)
      await running.caughtUp()
      reportReadModels(await readModels.read())
      const isRight = reportCheck(tally, await check(store, tally))
      if (signal.aborted) console.log(bold('\nInterrupted. What is done is done: run it again to go on.'))
      process.exitCode = !isRight ? 1 : signal.aborted ? 130 : 0
    } finally {
      await running.stop()
    }
  } finally {
    await readModels.target.close()
    await store.close()
  }
}

interface Arguments {
  readonly file: string
  readonly store: string
}

/** Returns nothing where only help was asked for. */
function parseArguments(): Arguments | undefined {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { store: { type: 'string', default: 'sqlite:bank.db' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return undefined
  if (positionals.some((file) => file.includes('://')))
    throw new Error('the URL of a store goes behind --store')
  if (positionals.length > 1) throw new Error(`one file at a time, not ${positionals.join(' and ')}`)
  // As JavaScript this file lies in build/examples/bank.
  const folder = import.meta.url.endsWith('.ts') ? '.' : '../../../examples/bank'
  const bundled = new URL(`${folder}/transactions.csv`, import.meta.url)
  return { file: positionals[0] ?? relative('', fileURLToPath(bundled)), store: values.store }
}

try {
  const args = parseArguments()
  if (args) await main(args)
  else console.log(HELP)
} catch (error) {
  console.error(red(error instanceof Error ? error.message : String(error)))
  process.exitCode = 1
}
