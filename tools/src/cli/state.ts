import type { AnyAggregate, Revision } from 'mneme'

import { loadModel, type Model } from '../model.ts'
import type { Work } from './command.ts'
import { differences, showDifferences } from './difference.ts'
import { UsageError } from './errors.ts'
import { requireStream } from './read.ts'
import { printableLines } from './terminal.ts'

export interface StateOptions {
  readonly model: string
  readonly at?: number
  readonly diff?: boolean
}

/** Shows the state of a stream, as of its last event or of an earlier one, or what that event has changed. */
export async function state(
  { store, terminal, args, signal }: Work,
  { model, at, diff = false }: StateOptions,
): Promise<void> {
  const [stream] = args
  if (stream === undefined) throw new UsageError('name a stream, like BankAccount-alice')
  const { aggregates } = await loadModel(model)
  const aggregate = aggregateOf(aggregates, stream)
  await requireStream(store, stream, signal)
  let folded: unknown = aggregate.initial()
  let before = folded
  let revision: Revision = 'none'
  for await (const event of store.read(stream, { to: at, signal })) {
    const next: number = revision === 'none' ? 0 : revision + 1
    if (event.revision !== next) {
      throw new Error(`the beginning of '${stream}' was erased: no state can be folded from its events`)
    }
    const decoded = aggregate.decode(event)
    before = folded
    if (decoded) folded = aggregate.evolve(folded, decoded)
    revision = event.revision
  }
  if (at !== undefined && revision !== at) {
    throw new UsageError(`'${stream}' has no revision ${String(at)}: its head is ${String(revision)}`)
  }
  if (diff) {
    const changes = differences(before, folded)
    await terminal.record({ stream, revision, changes }, () => showDifferences(changes))
    return
  }
  await terminal.record({ stream, revision, state: folded }, () =>
    printableLines(JSON.stringify(folded, undefined, 2)),
  )
}

function aggregateOf(aggregates: Model['aggregates'], stream: string): AnyAggregate {
  const aggregate = aggregates.find((each) => each.idOf(stream) !== undefined)
  if (aggregate) return aggregate
  const known = aggregates.map(({ category }) => String(category)).join(', ')
  throw new UsageError(`no aggregate of the model has streams like '${stream}'; there are: ${known}`)
}
