import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, storePool } from 'mneme'
import { sqliteStore, tenantFile } from 'mneme/sqlite'

import { deposit } from './account.ts'
import { percentile, seconds, type Figure } from './measure.ts'
import { callers } from './work.ts'

const TENANTS = 1_000
const OPEN = 50
const CALLERS = 20

/** A thousand tenants, each with a SQLite file, of which fifty are open. */
export async function* tenantFigures(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const tenants = storePool((tenant) => sqliteStore(tenantFile(folder, tenant)), { max: OPEN })
  const before = handles()
  let mostHandles = 0
  const round = async () => {
    const waits: number[] = []
    let next = 0
    const taken = await seconds(() =>
      callers(CALLERS, async () => {
        while (next < TENANTS) {
          const tenant = `tenant-${String(next++)}`
          const started = performance.now()
          await tenants.use(tenant, (store) => execute(store, deposit({ account: 'a', amount: 1 })))
          waits.push(performance.now() - started)
          mostHandles = Math.max(mostHandles, handles())
        }
      }),
    )
    return { perSecond: TENANTS / taken, p99: percentile(waits, 99) }
  }
  try {
    const first = await round()
    yield shown('a command of each of 1,000 tenants, 50 open, on new files', first)
    yield shown('the same, on files that exist', await round())
    const most = mostHandles - before
    yield {
      name: `file handles with ${String(OPEN)} open`,
      value: `${String(most)} at most, ${(most / OPEN).toFixed(1)} for each open store`,
      goal: `<= ${String(OPEN * 6)}`,
      reached: most <= OPEN * 6,
    }
    await tenants.close()
    yield { name: 'file handles after close', value: String(handles() - before) }
  } finally {
    await tenants.close()
    await rm(folder, { recursive: true })
  }
}

function shown(
  name: string,
  { perSecond, p99 }: { readonly perSecond: number; readonly p99: number },
): Figure {
  return { name, value: `${perSecond.toFixed(0)}/s, p99 ${p99.toFixed(0)} ms, ${String(CALLERS)} callers` }
}

/** How many files this process holds, on Linux. */
function handles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}
