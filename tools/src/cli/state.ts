import type { Revision } from 'mneme'

import type { Path } from '../inspector/api.ts'
import { type Difference, differences } from '../inspector/changes.ts'
import type { NamedAggregate } from '../inspector/program.ts'
import { plain } from '../inspector/shown.ts'
import { States } from '../inspector/states.ts'
import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { requireStream } from './read.ts'
import { printable, printableLines } from './terminal.ts'

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
  const { named } = await loadModel(model)
  const aggregate = aggregateOf(named.aggregates, stream)
  await requireStream(store, stream, signal)
  const head = await store.head(stream)
  const revision: Revision = at ?? head
  if (at !== undefined && (head === 'none' || at > head)) {
    throw new UsageError(`'${stream}' has no revision ${String(at)}: its head is ${String(head)}`)
  }
  const { before, state } = await new States(store).at(stream, aggregate, revision, signal)
  if (diff) {
    const changes = [...differences(before, state)].map(changeOf)
    await terminal.record({ stream, revision, changes }, () => showChanges(changes))
    return
  }
  const shown = plain(state)
  await terminal.record({ stream, revision, state: shown }, () =>
    printableLines(JSON.stringify(shown, undefined, 2)),
  )
}

/** A place at which the state has changed; a value that is missing is left out. */
interface Change {
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

function changeOf({ path, before, after }: Difference): Change {
  return {
    path: textOf(path),
    ...(before !== undefined && { before: plain(before) }),
    ...(after !== undefined && { after: plain(after) }),
  }
}

function textOf(path: Path): string {
  const steps = path.map((key) => (typeof key === 'number' ? `[${String(key)}]` : `.${key}`))
  return steps.length === 0 ? '.' : steps.join('')
}

/** As lines: what was there after a minus, what is there after a plus. */
function showChanges(changes: readonly Change[]): string {
  const line = (sign: string, { path }: Change, value: unknown) =>
    printable(`${sign} ${path}: ${JSON.stringify(value)}`)
  const lines = changes.flatMap((one) => [
    ...('before' in one ? [line('-', one, one.before)] : []),
    ...('after' in one ? [line('+', one, one.after)] : []),
  ])
  return lines.length === 0 ? 'no difference' : lines.join('\n')
}

function aggregateOf(
  aggregates: Awaited<ReturnType<typeof loadModel>>['named']['aggregates'],
  stream: string,
): NamedAggregate {
  const found = Object.entries(aggregates).find(([, aggregate]) => aggregate.idOf(stream) !== undefined)
  if (found) return { name: found[0], aggregate: found[1] }
  const known = Object.values(aggregates).map(({ category }) => String(category))
  throw new UsageError(
    `no aggregate of the model has streams like '${stream}'; there are: ${known.join(', ')}`,
  )
}
