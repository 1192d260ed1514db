import type { TestServer } from '../../stores/postgres/server.ts'
import { differences, Ledgers, storedIn } from './ledger.ts'
import type { Tail, Writer, Written } from './processes.ts'
import { calm } from './soak.ts'

/** Resolves when the writers write and the tails read. */
export async function underWay(writers: readonly Writer[], tails: readonly Tail[]): Promise<void> {
  await Promise.all([
    ...writers.map((writer) => writer.said('writing')),
    ...tails.map((tail) => tail.said('reading')),
  ])
}

/** Stops the writers, then the tails, when what was still on its way has come; what they say of it, and the log. */
export async function stop(
  server: TestServer,
  url: string,
  { writers, tails }: { readonly writers: readonly Writer[]; readonly tails: readonly Tail[] },
) {
  for (const writer of writers) writer.say('stop')
  const written = await Promise.all(writers.map((writer) => writer.result<Written>()))
  await calm(server, url)
  for (const tail of tails) tail.say('stop')
  const failures = await Promise.all(tails.map((tail) => tail.result<{ failures: object }>()))
  const log = await storedIn(server, url)
  return {
    log,
    ledgers: new Ledgers(writers.map(({ ledger }) => ledger)),
    unknown: written.reduce((sum, { unknown }) => sum + unknown, 0),
    /** What each tail could not read. */
    failures,
    /** What each tail saw otherwise than the log has it. */
    differences: tails.map((tail) => differences(tail, log)),
  }
}
