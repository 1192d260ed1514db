import { whole } from './format.tsx'

/** What a bar stands for. */
export interface Bar {
  readonly value: number
  readonly title: string
}

const HEIGHT = 120

/** Values side by side, from the first to the last. */
export function Bars({
  bars,
  label,
  from,
  to,
  format = whole,
}: {
  readonly bars: readonly Bar[]
  /** What the picture shows, for whoever hears the page. */
  readonly label: string
  readonly from: string
  readonly to: string
  readonly format?: (value: number) => string
}) {
  const most = Math.max(...bars.map(({ value }) => value), 1)
  const width = 100 / bars.length
  return (
    <figure class="axis">
      <p class="bars-most">{format(most)}</p>
      <svg role="img" aria-label={`${label}, at most ${format(most)}`} width="100%" height={HEIGHT}>
        <line class="axis-line" x1="0" x2="100%" y1={HEIGHT} y2={HEIGHT} />
        {bars.map(({ value, title }, i) => {
          // A value that is not 0 is seen.
          const height = value === 0 ? 0 : Math.max(2, Math.round((value / most) * HEIGHT))
          return (
            <rect
              key={i}
              class="bar-mark"
              x={`${String(i * width)}%`}
              width={`${String(width * 0.85)}%`}
              y={HEIGHT - height}
              height={height}
            >
              <title>{`${title}: ${format(value)}`}</title>
            </rect>
          )
        })}
      </svg>
      <figcaption>
        <span>{from}</span>
        <span>{to}</span>
      </figcaption>
    </figure>
  )
}
