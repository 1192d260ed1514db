import { categoryOf } from '../../model/names.ts'
import type { Direction, LogFilter } from '../../adapter/store-adapter.ts'
import { type Parameter, texts } from './wire.ts'
import { NOT_ERASED, page, type PageStatements, UNTIL, withNoted } from './statements.ts'

/**
 * The statements for pages of the events that a filter lets through. Their parameters are `values`, and then after which
 * position, up to which, and how many at most.
 *
 * A page covers a span of numbers, since a filter may match nothing for a long while. Each name of the filter is looked up
 * by an index, and the finds are merged; if the names are many and the span is short, all events of the span are read
 * instead, which is cheaper than looking up each name.
 *
 * On a standby one more row says up to where the log was complete for this very statement; its other columns are null.
 */
export class Selection {
  readonly values: readonly Parameter[]
  /** The span of the first page. */
  readonly firstSpan: number
  /** The longest span of which all events are read. */
  readonly #maxReadSpan: number
  readonly #lookUp: PageStatements
  readonly #readAll: PageStatements

  constructor(filter: LogFilter, direction: Direction, isStandby: boolean) {
    const { streams = [], categories = [], types = [] } = filter
    const names = streams.length + categories.length + types.length
    const isOfAll = !filter.streams && !filter.categories && !filter.types
    this.#maxReadSpan = names < MIN_NAMES_TO_READ_ALL ? 0 : names * NUMBERS_PER_LOOKUP
    this.firstSpan = isOfAll ? Infinity : this.#maxReadSpan > 0 ? this.#maxReadSpan : FIRST_SPAN
    const { lookUp, readAll, values } = statementsOf(filter, direction, isStandby)
    this.values = values
    this.#lookUp = lookUp
    this.#readAll = readAll
  }

  statementsFor(span: number): PageStatements {
    return span <= this.#maxReadSpan ? this.#readAll : this.#lookUp
  }

  /**
   * @param isWhole whether the page before ended with its span, rather than because it was full.
   * @param covered the numbers that it covered.
   */
  nextSpan(span: number, isWhole: boolean, covered: number): number {
    if (isWhole) return span * 4
    // The names are frequent here: reading them all may be cheaper again.
    const mayReadAll = this.#maxReadSpan > 0 && covered * 2 <= this.#maxReadSpan
    return mayReadAll ? Math.min(span, this.#maxReadSpan) : span
  }
}

function statementsOf(
  { streams, categories, types }: LogFilter,
  direction: Direction,
  isStandby: boolean,
): { lookUp: PageStatements; readAll: PageStatements; values: Parameter[] } {
  const values: Parameter[] = []
  const parameter = (names: readonly string[]) =>
    `$${String(values.push(texts([...new Set(names)])))}::text[]`
  // A stream of a category that is asked for comes with the category.
  const ofCategories = new Set(categories)
  const apart = streams?.filter((stream) => !ofCategories.has(categoryOf(stream)))
  const byCategory = categories && parameter(categories)
  const byStream = apart && parameter(apart)
  const byType = types && parameter(types)
  const [after, upTo, limit] = [1, 2, 3].map((i) => `$${String(values.length + i)}::bigint`) as [
    string,
    string,
    string,
  ]

  const isForwards = direction === 'forwards'
  // No further than a horizon that was found in the same transaction.
  const until = isForwards ? `least(${upTo}, ${UNTIL})` : upTo
  const descending = isForwards ? '' : ' DESC'
  const order = `position${descending}`
  const [beyond, within] = isForwards ? ['>', '<='] : ['<', '>=']
  // In this very statement, since a different standby may not have replayed as much.
  const noted = isStandby ? ' AND e.position <= (SELECT h.position FROM SCHEMA.horizon h)' : ''
  const range = `e.position ${beyond} ${after} AND e.position ${within} ${until}${noted} AND e.${NOT_ERASED}`
  const ofType = byType ? ` AND e.type = ANY (${byType})` : ''
  const find = (names: string, from: string, by: readonly string[]) =>
    `SELECT f.* FROM unnest(${names}) AS n(name) CROSS JOIN LATERAL (
      SELECT e.* FROM SCHEMA.events ${from} AND ${range}${ofType}
        ORDER BY ${by.map((column) => column + descending).join(', ')} LIMIT ${limit}) f`
  // The index has the first event of each run, which may lie before the page, but then under the same number.
  const findRuns = (names: string, run: string, column: string) => {
    // Compared and ordered by both columns of the index, or the planner would take that of positions and filter.
    const both = `(${column}, r.position)`
    const [low, high] = isForwards ? [after, until] : [until, after]
    const from = `r CROSS JOIN LATERAL (SELECT * FROM SCHEMA.events WHERE position >= r.position
          AND position < r.position + r.${run} ORDER BY position OFFSET 0) e
        WHERE r.${run} > 0 AND ${both} >= (n.name, (${low} >> 16) << 16) AND ${both} <= (n.name, ${high})`
    return find(names, from, [column, 'r.position', 'e.position'])
  }
  const finds: string[] = []
  if (byCategory) finds.push(findRuns(byCategory, 'category_run', `split_part(r.stream, '-', 1)`))
  if (byStream) {
    const first = `SCHEMA.revision_after(n.name, ${isForwards ? after : `${after} - 1`})`
    const from = `e WHERE e.stream = n.name AND e.revision ${isForwards ? '>=' : '<'} ${first}`
    finds.push(find(byStream, from, ['e.revision']))
  }
  if (finds.length === 0 && byType) finds.push(findRuns(byType, 'type_run', 'r.type'))
  // A poll that finds nothing new looks nothing up.
  const isAny = `${after} ${isForwards ? '<' : '>'} ${until}`
  const found =
    finds.length > 0 ? `(${finds.join(' UNION ALL ')}) e WHERE ${isAny}` : `SCHEMA.events e WHERE ${range}`
  // Within CASE the planner cannot make a join of it, which would lose the order: it looks up in a hash table.
  const isIn = (column: string, names: string) => `${column} IN (SELECT unnest(${names}))`
  const ofNames = [
    byCategory && isIn(`split_part(e.stream, '-', 1)`, byCategory),
    byStream && isIn('e.stream', byStream),
  ].filter((condition) => condition !== undefined)
  const isWanted = [
    ofNames.length > 0 ? `(${ofNames.join(' OR ')})` : 'true',
    byType ? isIn('e.type', byType) : 'true',
  ].join(' AND ')
  const read = `SCHEMA.events e WHERE ${isAny} AND ${range} AND CASE WHEN ${isWanted} THEN true ELSE false END`
  const pageOf = (rows: string) => {
    const statements = page(`SELECT e.* FROM ${rows} ORDER BY e.${order} LIMIT ${limit}`, order)
    return isStandby ? withNoted(statements) : statements
  }
  return { lookUp: pageOf(found), readAll: pageOf(read), values }
}

/** The span of the first page of a filter with few names, in numbers. */
const FIRST_SPAN = 65_536
/** Looking up one name costs about as much as reading the events of so many numbers. */
const NUMBERS_PER_LOOKUP = 20
/** Fewer names than these are always looked up. */
const MIN_NAMES_TO_READ_ALL = 64
