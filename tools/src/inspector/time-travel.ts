import type { Shown, StateShown } from './api.ts'
import { type CallContext, CallError, objectIn, optionalTextIn, pathIn, textIn, wholeIn } from './call.ts'
import { changesBetween } from './changes.ts'
import { rowOf } from './events.ts'
import type { Served } from './inspector.ts'
import type { NamedAggregate, Program } from './program.ts'
import { show, valueAt } from './shown.ts'

/** The state of a stream as of a revision, with what its event has changed. */
export async function stateShown(
  { store, signal }: CallContext,
  input: unknown,
  { program, states }: Served,
): Promise<StateShown> {
  const stream = textIn(input, 'stream')
  const folding = aggregatesOf(program, stream)
  const named = aggregateIn(folding, input, stream)
  const head = await store.head(stream)
  // `-1` is the state before the first event.
  const asked = objectIn(input).revision
  const revision = asked === -1 || head === 'none' ? 'none' : (wholeIn(input, 'revision') ?? head)
  const { state, before, event } = await states.at(stream, named, revision, signal)
  const { changes, isMore } = event ? changesBetween(before, state) : { changes: [], isMore: false }
  return {
    ...{ aggregate: named.name, aggregates: folding.map(({ name }) => name), head, revision },
    ...(event && { event: { ...rowOf(event), data: show(event.data) } }),
    ...{ state: show(state), changes, isMore },
  }
}

/** More of a state of which only a part was shown. */
export async function valueOfState(
  { signal }: CallContext,
  input: unknown,
  { program, states }: Served,
): Promise<Shown> {
  const { of } = objectIn(input)
  const stream = textIn(of, 'stream')
  const named = aggregateIn(aggregatesOf(program, stream), of, stream)
  const { state } = await states.at(stream, named, wholeIn(of, 'revision') ?? 'none', signal)
  return show(valueAt(state, pathIn(input, 'path')), wholeIn(input, 'skip'))
}

function aggregatesOf({ aggregates }: Program, stream: string): readonly NamedAggregate[] {
  return aggregates.filter(({ aggregate }) => aggregate.idOf(stream) !== undefined)
}

function aggregateIn(folding: readonly NamedAggregate[], input: unknown, stream: string): NamedAggregate {
  const wanted = optionalTextIn(input, 'aggregate')
  const named = folding.find(({ name }) => wanted === undefined || name === wanted)
  if (named) return named
  throw new CallError(`the program of the inspector has no aggregate for '${stream}'`, {
    code: 'NO_AGGREGATE',
    status: 404,
  })
}
