/** One way of doing some work: does it once more and resolves with the seconds that it took. */
export type Run = () => Promise<number>

/** What is compared: each side does the same durable work. */
export interface Comparison {
  readonly name: string
  /** What the figure is a ratio to. */
  readonly to: string
  /** The least ratio that is aimed at; left out: it is only shown. */
  readonly goal?: number
  /** Operations of one run of ours, and of theirs. */
  readonly operations: readonly [ours: number, theirs: number]
  readonly ours: Run
  readonly theirs: Run
  /** How often each side runs, five times where left out. Many short runs even out what else the machine does. */
  readonly runs?: number
}

/** A measured figure. */
export interface Figure {
  readonly name: string
  readonly value: string
  /** Left out: it is only shown. */
  readonly goal?: string
  readonly reached?: boolean
}

/** Runs both sides in turn, after a warm-up, and takes the ratio of their medians. */
export async function compare({
  name,
  to,
  goal,
  operations,
  ours,
  theirs,
  runs = 5,
}: Comparison): Promise<Figure> {
  const speeds: [number[], number[]] = [[], []]
  for (let run = 0; run <= runs; run++) {
    const theirSeconds = await theirs()
    const ourSeconds = await ours()
    if (run === 0) continue
    speeds[0].push(operations[0] / ourSeconds)
    speeds[1].push(operations[1] / theirSeconds)
  }
  const [our, their] = [median(speeds[0]), median(speeds[1])]
  const ratio = our / their
  const detail = `${perSecond(our)} against ${perSecond(their)} of ${to}`
  const value = `${ratio.toFixed(2)}  (${detail})`
  return goal === undefined
    ? { name, value }
    : { name, value, goal: `>= ${String(goal)}`, reached: ratio >= goal }
}

/** The seconds that some work takes. */
export async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1_000
}

/** The seconds of CPU time that some work takes, on all threads of this process. */
export async function cpuSeconds(work: () => unknown): Promise<number> {
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1_000_000
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
