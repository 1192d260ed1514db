import type { EventRow } from '../../../src/inspector/api.ts'
import { placeOf } from './event-list.tsx'
import { hueOf, length, timeText } from './format.tsx'
import { visible } from './text.tsx'

/** More lanes cannot be told apart. */
export const MAX_LANES = 20

const LANE_HEIGHT = 46
/** Where the line of a lane is, below its name. */
const LINE_Y = 30

/**
 * A lane for each stream, with a mark for each of its events and a line from each event to what it has caused in another
 * lane. It shows what a list beside it says, so it is a picture for whoever hears the page.
 */
export function TimeAxis({
  streams,
  events,
  isByOrder,
  opened,
  onOpen,
}: {
  readonly streams: readonly string[]
  /** In the order of the store. */
  readonly events: readonly EventRow[]
  /** One step an event, rather than by time. */
  readonly isByOrder: boolean
  readonly opened: string | undefined
  readonly onOpen: (place: string | undefined) => void
}) {
  const [first, last] = [events[0]!, events.at(-1)!]
  const times = events.map(({ time }) => Date.parse(time))
  const [start, end] = [Math.min(...times), Math.max(...times)]
  const isTimed = !isByOrder && end > start
  const marks = events.map((event, i) => {
    const share = isTimed ? (times[i]! - start) / (end - start) : i / Math.max(events.length - 1, 1)
    const y = streams.indexOf(event.stream) * LANE_HEIGHT + LINE_Y
    return { event, x: `${String(1 + share * 98)}%`, y, place: placeOf(event) }
  })
  const byId = new Map(marks.map((mark) => [mark.event.id, mark]))
  return (
    <figure class="axis">
      <svg
        role="img"
        aria-label={`${String(streams.length)} streams with ${String(events.length)} events; the list below has them all`}
        width="100%"
        height={streams.length * LANE_HEIGHT}
      >
        {streams.map((name, i) => (
          <g key={name}>
            <text class="axis-name" x="0" y={i * LANE_HEIGHT + 16}>
              {visible(name)}
            </text>
            <line
              class="axis-line"
              x1="0"
              x2="100%"
              y1={i * LANE_HEIGHT + LINE_Y}
              y2={i * LANE_HEIGHT + LINE_Y}
            />
          </g>
        ))}
        {marks.map(({ event, x, y, place }) => {
          const cause = event.causation === undefined ? undefined : byId.get(event.causation)
          return (
            cause &&
            cause.y !== y && <line key={place} class="axis-cause" x1={cause.x} y1={cause.y} x2={x} y2={y} />
          )
        })}
        {marks.map(({ event, x, y, place }) => (
          <circle
            key={place}
            class={`axis-mark hue-${String(hueOf(event.type))}${place === opened ? ' open' : ''}`}
            cx={x}
            cy={y}
            r={place === opened ? 8 : 5}
            onClick={() => onOpen(place === opened ? undefined : place)}
          >
            <title>{`${visible(event.type)}, revision ${String(event.revision)}, ${timeText(event.time)}`}</title>
          </circle>
        ))}
      </svg>
      <figcaption>
        <span>{timeText(first.time)}</span>
        <span>{length(end - start)}</span>
        <span>{timeText(last.time)}</span>
      </figcaption>
    </figure>
  )
}
