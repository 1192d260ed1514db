/** One way of doing some work: does it once more and resolves with the seconds that it took. */
export type Run = () => Promise<number>

/** What is compared: each side does the same durable work. */
export interface Comparison {
  readonly name: string
  /** What the figure is a ratio to. */
  readonly to: string
  /** The least ratio that is aimed at. */
  readonly goal: number
  /** Operations of one run of ours, and of theirs. */
  readonly operations: readonly [ours: number, theirs: number]
  readonly ours: Run
  readonly theirs: Run
}

/** A measured figure. */
export interface Figure {
  readonly name: string
  readonly value: string
  readonly goal: string
  readonly reached: boolean
}

/** Runs both sides in turn, five times each after a warm-up, and takes the median of the ratios' two medians. */
export async function compare({ name, to, goal, operations, ours, theirs }: Comparison): Promise<Figure> {
  const speeds: [number[], number[]] = [[], []]
  for (let run = 0; run <= RUNS; run++) {
    const theirSeconds = await theirs()
    const ourSeconds = await ours()
    if (run === 0) continue
    speeds[0].push(operations[0] / ourSeconds)
    speeds[1].push(operations[1] / theirSeconds)
  }
  const [our, their] = [median(speeds[0]), median(speeds[1])]
  const ratio = our / their
  const detail = `${perSecond(our)} against ${perSecond(their)} of ${to}`
  return {
    name,
    value: `${ratio.toFixed(2)}  (${detail})`,
    goal: `>= ${String(goal)}`,
    reached: ratio >= goal,
  }
}

/** The seconds that some work takes. */
export async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1_000
}

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The value that so many percent of the values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * percent) / 100) - 1)] ?? NaN
}

function perSecond(speed: number): string {
  return `${Math.round(speed).toLocaleString('en')}/s`
}

const RUNS = 5
