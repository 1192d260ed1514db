import type { Trace, TraceNode } from '../../../src/inspector/api.ts'
import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo } from '../route.ts'
import { Field, FilterBar } from '../ui/controls.tsx'
import { placeIn, placeOf } from '../ui/event-list.tsx'
import { counted, elapsed, hueOf, Time, whole } from '../ui/format.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { MAX_LANES } from '../ui/time-axis.tsx'
import { Text } from '../ui/text.tsx'
import { filled } from './streams.tsx'

/** What follows from what: the tree of an event, or of a correlation. */
export function TracePage({ route }: Pick<PageProps, 'route'>) {
  const { at, wanted, budget } = route.params
  const place = placeIn(at)
  const asked = place ? { at: place } : wanted === undefined ? undefined : { wanted }
  const called = useCall(
    'trace',
    asked && { ...asked, ...(budget !== undefined && { budget: Number(budget) }) },
  )
  return (
    <>
      <h1>Causes and effects</h1>
      <FilterBar values={{ wanted }} onApply={(values) => go(linkTo('trace', undefined, values))}>
        {(input) => (
          <Field name="Correlation, or id of an event" grow>
            <input type="search" spellcheck={false} required {...input('wanted')} />
          </Field>
        )}
      </FilterBar>
      {asked === undefined ? (
        <Empty title="Choose an event">
          Open one of a stream, and choose “Causes and effects”; or look for a correlation.
        </Empty>
      ) : (
        <Result called={called}>
          {(trace) => (
            <Found
              trace={trace}
              more={linkTo('trace', undefined, filled({ at, wanted, budget: trace.scanned * 10 }))}
            />
          )}
        </Result>
      )}
    </>
  )
}

function Found({ trace, more }: { readonly trace: Trace; readonly more: string }) {
  const { nodes, scanned, isWhole } = trace
  const searchOn = !isWhole && (
    <p class="lead">
      {whole(scanned)} events before and behind were searched, for stores have no index of causes.{' '}
      <a href={more}>Search ten times as far</a>
    </p>
  )
  if (nodes.length === 0) {
    return (
      <>
        <Empty title="No event has this id or this correlation" />
        {searchOn}
      </>
    )
  }
  const streams = [...new Set(nodes.map(({ event }) => event.stream))]
  return (
    <>
      <div class="toolbar">
        <p class="lead">
          {counted(nodes.length, 'event')} of {counted(streams.length, 'stream')}, from{' '}
          <Time iso={nodes[0]!.event.time} />
        </p>
        {streams.length <= MAX_LANES && (
          <a class="button small" href={linkTo('lanes', undefined, { streams: streams.join('\n') })}>
            On a time axis
          </a>
        )}
      </div>
      <Branches nodes={branchesOf(nodes)} start={nodes[0]!.event.time} label="What follows from what" />
      {searchOn}
    </>
  )
}

interface Branch extends TraceNode {
  readonly effects: Branch[]
}

/** The tree of nodes that come each behind its cause. */
function branchesOf(nodes: readonly TraceNode[]): readonly Branch[] {
  const roots: Branch[] = []
  const above: Branch[] = []
  for (const node of nodes) {
    const branch = { ...node, effects: [] }
    above.length = node.depth
    ;(above.at(-1)?.effects ?? roots).push(branch)
    above.push(branch)
  }
  return roots
}

/** Deeper branches are not moved in any more. */
const MAX_INDENT = 8

function Branches({
  nodes,
  start,
  label,
}: {
  readonly nodes: readonly Branch[]
  readonly start: string
  readonly label?: string
}) {
  return (
    <ul class={nodes[0]!.depth > MAX_INDENT ? 'tree deep' : 'tree'} aria-label={label}>
      {nodes.map(({ event, depth, isWanted, effects }) => (
        <li key={event.id}>
          <p class={isWanted ? 'tree-node marked' : 'tree-node'} aria-current={isWanted ? 'true' : undefined}>
            <span class={`dot hue-${String(hueOf(event.type))}`} aria-hidden="true" />
            <a class="name" href={linkTo('stream', event.stream, { event: placeOf(event) })}>
              <Text value={event.type} />
            </a>{' '}
            <span class="lead">
              <Text value={event.stream} />, revision {event.revision}
              {event.time !== start && `, ${elapsed(start, event.time)}`}
            </span>
            {depth === 0 && event.causation !== undefined && (
              <span class="lead">
                , from <Text value={event.causation} />
              </span>
            )}
          </p>
          {effects.length > 0 && <Branches nodes={effects} start={start} />}
        </li>
      ))}
    </ul>
  )
}
