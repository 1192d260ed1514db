import type { Readable, Writable } from 'node:stream'
import picocolors from 'picocolors'
import stringWidth from 'string-width'

/** Where a command writes to, and what it may know of its surroundings. */
export interface Surroundings {
  readonly out: Output
  readonly err: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** For a verb that speaks a protocol. Default: there are none. */
  readonly pipes?: Pipes | undefined
  /** Aborted when the command is to end, as by Ctrl-C. */
  readonly signal: AbortSignal
}

/** The standard input and output. */
export interface Pipes {
  readonly stdin: Readable
  readonly stdout: Writable
}

/** A stream of text, which may be a terminal. */
export interface Output {
  /** Resolves when more may be written. @throws BrokenPipe if nobody reads it any more. */
  write(text: string): Promise<void>
  /** Columns of the terminal; `undefined` if it is none. */
  readonly columns: number | undefined
}

/** Who was reading has gone, as `head` does: a good end. */
export class BrokenPipe extends Error {}

/** Writes lines and tables for people, or JSON lines for programs. */
export class Terminal {
  readonly #out: Output
  readonly #isJson: boolean
  readonly paint: ReturnType<typeof picocolors.createColors>

  constructor({ out, env }: Surroundings, isJson: boolean) {
    this.#out = out
    this.#isJson = isJson
    const isForced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0'
    const isRefused = env.NO_COLOR !== undefined && env.NO_COLOR !== ''
    this.paint = picocolors.createColors(!isJson && !isRefused && (isForced || out.columns !== undefined))
  }

  /** Columns that a line may have. */
  get width(): number {
    return this.#out.columns ?? Infinity
  }

  /** A line, whose parts are made printable beforehand. */
  line(text = ''): Promise<void> {
    return this.#out.write(`${text}\n`)
  }

  /** A value as a line of JSON, in which no character can change what a terminal shows. */
  json(value: unknown): Promise<void> {
    return this.line(printable(JSON.stringify(value)))
  }

  /** A record: as JSON, or else as what `show` makes of it. */
  async record(value: object, show: () => string): Promise<void> {
    await (this.#isJson ? this.json(value) : this.line(show()))
  }

  /** A table whose rows come one by one: JSON lines, or columns as wide as their first rows need. */
  async table<Row extends object>(
    rows: AsyncIterable<Row> | Iterable<Row>,
    columns: readonly Column<Row>[],
  ): Promise<void> {
    const layout = new Layout(columns, this)
    for await (const row of rows) {
      if (this.#isJson) await this.json(row)
      else for (const line of layout.add(row)) await this.line(line)
    }
    if (!this.#isJson) for (const line of layout.end()) await this.line(line)
  }
}

/** A column of a table. */
export interface Column<Row> {
  readonly name: string
  readonly of: (row: Row) => string
  readonly isRight?: boolean
  /** Left out on a terminal of fewer columns. */
  readonly minWidth?: number
}

/**
 * The first rows decide how wide the columns are; the last column takes what is left of the line. If that were less than 12, the
 * widest of the others are cut to one width.
 */
class Layout<Row> {
  readonly #columns: readonly Column<Row>[]
  readonly #terminal: Terminal
  #waiting: string[][] = []
  #widths: number[] | undefined

  constructor(columns: readonly Column<Row>[], terminal: Terminal) {
    this.#columns = columns.filter(({ minWidth = 0 }) => minWidth <= terminal.width)
    this.#terminal = terminal
  }

  add(row: Row): string[] {
    this.#waiting.push(this.#columns.map(({ of }) => printable(of(row))))
    return this.#widths !== undefined || this.#waiting.length >= ROWS_TO_MEASURE ? this.end() : []
  }

  end(): string[] {
    const lines: string[] = []
    if (this.#widths === undefined && this.#waiting.length > 0) {
      const names = this.#columns.map(({ name }) => name)
      const needed = names.map((name, i) =>
        Math.max(...[name, ...this.#waiting.map((cells) => cells[i]!)].map((cell) => stringWidth(cell))),
      )
      const last = Math.min(needed.at(-1)!, MIN_LAST)
      const room = this.#terminal.width - last - GAP.length * (needed.length - 1)
      const most = widest(needed.slice(0, -1), room)
      this.#widths = needed.map((width, i) => (i === needed.length - 1 ? width : Math.min(width, most)))
      lines.push(this.#terminal.paint.dim(this.#lineOf(names)))
    }
    lines.push(...this.#waiting.map((cells) => this.#lineOf(cells)))
    this.#waiting = []
    return lines
  }

  #lineOf(cells: readonly string[]): string {
    const padded = cells.map((whole, i) => {
      const isLast = i === cells.length - 1
      const cell = isLast ? whole : cut(whole, this.#widths![i]!)
      const blanks = ' '.repeat(Math.max(0, this.#widths![i]! - stringWidth(cell)))
      if (this.#columns[i]!.isRight === true) return blanks + cell
      return isLast ? cell : cell + blanks
    })
    return cut(padded.join(GAP), this.#terminal.width)
  }
}

/** The most that each of these widths may be, so that together they need no more than this room. */
function widest(widths: readonly number[], room: number): number {
  let left = room
  const sorted = widths.toSorted((a, b) => a - b)
  for (const [i, width] of sorted.entries()) {
    const share = Math.max(1, Math.floor(left / (sorted.length - i)))
    if (width > share) return share
    left -= width
  }
  return Infinity
}

const ROWS_TO_MEASURE = 100
const GAP = '  '
const MIN_LAST = 12

/** A text as a terminal may show it: control characters, invisible ones, and those that change the direction of writing are escaped. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) =>
    // JSON knows characters by their UTF-16 units.
    character.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}

/** The same for a text of several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}

const UNPRINTABLE =
  // eslint-disable-next-line no-control-regex -- these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu

/** A line without what a terminal of so many columns would wrap. */
export function cut(text: string, width: number): string {
  if (text.length * 2 <= width || stringWidth(text) <= width) return text
  let kept = ''
  let left = width - 1
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    left -= stringWidth(segment)
    if (left < 0) break
    kept += segment
  }
  return `${kept}…`
}
