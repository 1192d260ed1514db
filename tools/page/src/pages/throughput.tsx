import type { Throughput } from '../../../src/inspector/api.ts'
import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo } from '../route.ts'
import { Bars } from '../ui/bars.tsx'
import { FilterBar } from '../ui/controls.tsx'
import { counted, hueOf, length, timeText, whole } from '../ui/format.tsx'
import { LogFields, logFilter } from '../ui/log-filter.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { Text } from '../ui/text.tsx'
import { filled } from './streams.tsx'

/** How many events were recorded when, and of which types. */
export function ThroughputPage({ about, route }: PageProps) {
  const { type, category, stream, budget } = route.params
  const called = useCall('throughput', {
    ...logFilter(route.params),
    ...(budget !== undefined && { budget: Number(budget) }),
  })
  return (
    <>
      <h1>Throughput</h1>
      <FilterBar
        values={{ type, category, stream }}
        onApply={(values) => go(linkTo('throughput', undefined, values))}
      >
        {(input) => <LogFields about={about} input={input} />}
      </FilterBar>
      <Result called={called}>
        {(throughput) => (
          <Plot
            throughput={throughput}
            more={linkTo(
              'throughput',
              undefined,
              filled({ type, category, stream, budget: throughput.events * 10 }),
            )}
          />
        )}
      </Result>
    </>
  )
}

function Plot({ throughput, more }: { readonly throughput: Throughput; readonly more: string }) {
  const { events, bars, types, isWhole, from, to } = throughput
  if (from === undefined || to === undefined) return <Empty title="There is no such event" />
  const start = Date.parse(from)
  const span = Date.parse(to) - start
  const width = span / bars.length
  const perSecond = events / Math.max(span / 1_000, 0.001)
  return (
    <>
      <div class="toolbar">
        <p class="lead">
          {isWhole ? counted(events, 'event') : `The last ${counted(events, 'event')}`} in {length(span)}
          {span > 0 && `, ${perSecond.toLocaleString('en', { maximumSignificantDigits: 3 })} a second`}
        </p>
        {!isWhole && (
          <a class="button small" href={more}>
            Ten times as many
          </a>
        )}
      </div>
      <Bars
        label={`Events in each ${length(width)}`}
        from={timeText(from)}
        to={timeText(to)}
        bars={bars.map((value, i) => ({
          value,
          title: timeText(new Date(start + i * width).toISOString()),
        }))}
      />
      <table class="rows">
        <thead>
          <tr>
            <th scope="col">Type</th>
            <th scope="col">Versions</th>
            <th scope="col" class="number">
              Events
            </th>
            <th scope="col" class="number">
              Share
            </th>
          </tr>
        </thead>
        <tbody>
          {types.map((row) => (
            <tr key={row.type}>
              <th scope="row">
                <a class="name" href={linkTo('log', undefined, { type: row.type })}>
                  <span class={`dot hue-${String(hueOf(row.type))}`} aria-hidden="true" />
                  <Text value={row.type} />
                </a>
              </th>
              <td>{versionsOf(row)}</td>
              <td class="number">{whole(row.events)}</td>
              <td class="number">{`${((row.events / events) * 100).toFixed(1)} %`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

/** `1`, or how many events there are of each. */
function versionsOf({ versions }: Throughput['types'][number]): string {
  const [only, ...others] = versions
  if (only && others.length === 0) return String(only.version)
  return versions.map(({ version, events }) => `${String(version)} (${whole(events)})`).join(', ')
}
