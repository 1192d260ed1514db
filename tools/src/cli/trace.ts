import type { Recorded } from 'mneme'

import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import type { Column } from './terminal.ts'

/** An event in the tree of what follows from what. */
interface Traced {
  /** How many causes above it are shown. */
  readonly depth: number
  readonly time: string
  readonly type: string
  readonly stream: string
  readonly revision: number
  readonly id: string
  readonly causation: string | undefined
}

const COLUMNS: readonly Column<Traced>[] = [
  { name: 'time', of: ({ time }) => time, minWidth: 70 },
  { name: 'event', of: ({ depth, type }) => `${'  '.repeat(depth)}${type}` },
  { name: 'stream', of: ({ stream }) => stream },
  { name: 'rev', of: ({ revision }) => String(revision), isRight: true },
  { name: 'id', of: ({ id }) => id },
]

/**
 * Shows what an event follows from and what follows from it, or all events of a correlation, as a tree. A cause stands before what
 * follows from it, so the store is read once backwards and once forwards, and only the tree is held.
 */
export async function trace({ store, terminal, args, signal }: Work): Promise<void> {
  const [wanted] = args
  if (wanted === undefined) throw new UsageError('give the id of an event, or a correlation')
  const to = await store.logHead()
  const causes: Recorded[] = []
  let next: unknown = wanted
  for await (const event of store.readAll({ direction: 'backwards', signal })) {
    if (event.id !== next) continue
    causes.unshift(event)
    next = event.metadata.causation
    if (next === undefined) break
  }
  const first = causes[0]
  const chain = new Set(causes.map(({ id }) => id))
  const found = new Map<string, Recorded[]>()
  const roots: Recorded[] = []
  const known = new Set<string>()
  for await (const event of store.readAll({ to, signal })) {
    const { causation, correlation } = event.metadata
    const isAsked = first ? event.id === first.id : correlation === wanted
    const follows = typeof causation === 'string' && known.has(causation)
    if (!isAsked && !follows) continue
    // Of what the causes of an event have led to, only the way to that event is of interest.
    if (chain.has(String(causation)) && causation !== wanted && !chain.has(event.id)) continue
    known.add(event.id)
    if (follows) found.set(causation, [...(found.get(causation) ?? []), event])
    else roots.push(event)
  }
  if (roots.length === 0) throw new UsageError(`no event has the id or the correlation '${wanted}'`)
  await terminal.table(walk(roots, found, 0), COLUMNS)
}

function* walk(
  events: readonly Recorded[],
  effects: ReadonlyMap<string, readonly Recorded[]>,
  depth: number,
): Generator<Traced> {
  for (const { time, type, stream, revision, id, metadata } of events) {
    yield { depth, time, type, stream, revision, id, causation: metadata.causation }
    yield* walk(effects.get(id) ?? [], effects, depth + 1)
  }
}
