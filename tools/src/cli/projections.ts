import { parkedIn, projectionsIn, type StoredProjection, unblockIn } from 'mneme/projections'

import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { targetAt } from './open.ts'
import { type Column, printableLines } from './terminal.ts'

export interface ProjectionsOptions {
  readonly unblock?: boolean
  readonly write?: boolean
}

const COLUMNS: readonly Column<StoredProjection>[] = [
  { name: 'name', of: ({ name }) => name },
  { name: 'kind', of: ({ kind }) => kind, minWidth: 70 },
  { name: 'state', of: ({ state }) => state },
  { name: 'handled', of: ({ handled }) => String(handled), isRight: true },
  { name: 'parked', of: ({ parked }) => String(parked), isRight: true },
  { name: 'version', of: ({ version }) => String(version), isRight: true, minWidth: 70 },
  { name: 'failure', of: ({ failure }) => failure?.message ?? '' },
]

/** Lists the projections, reactions and relays of a database, or shows all of one; lets one try again that is blocked. */
export async function projections(
  { url, terminal, args, note }: Work,
  { unblock = false, write = false }: ProjectionsOptions,
): Promise<void> {
  const [name] = args
  if (unblock && name === undefined) throw new UsageError('--unblock needs the name of a projection')
  if (unblock && !write) throw new UsageError('--unblock writes to the database: give --write, too')
  const target = targetAt(url)
  try {
    const all = await projectionsIn(target)
    if (name === undefined) {
      await terminal.table(all, COLUMNS)
      return
    }
    const found = all.find((one) => one.name === name)
    if (!found) {
      const known = all.length === 0 ? 'it has none' : `there are: ${all.map((one) => one.name).join(', ')}`
      throw new UsageError(`the database has no projection, reaction or relay '${name}'; ${known}`)
    }
    if (unblock) {
      const wasBlocked = await unblockIn(target, name)
      await note(wasBlocked ? `'${name}' may try again` : `'${name}' was not blocked`)
      return
    }
    const shown = { ...found, parked: await parkedIn(target, name) }
    await terminal.record(shown, () => printableLines(JSON.stringify(shown, undefined, 2)))
  } finally {
    await target.close()
  }
}
