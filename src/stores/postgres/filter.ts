import { categoryOf } from '../../model/names.ts'
import type { Direction, LogFilter } from '../../adapter/store-adapter.ts'
import { type Parameter, texts } from './wire.ts'
import { page, type PageStatements, UNTIL, withNoted } from './statements.ts'

/**
 * The statement for a page of what is asked for, and its parameters up to the last three: after which position, up
 * to which, how many at most. Whatever is named is looked up by itself, by an index, and the finds are merged.
 *
 * On a standby one row more says up to where the log was complete for this very statement; its other columns are null.
 */
export function selection(
  { streams, categories, types }: LogFilter,
  direction: Direction,
  isStandby: boolean,
): { statements: PageStatements; values: Parameter[] } {
  const values: Parameter[] = []
  const parameter = (names: readonly string[]) =>
    `$${String(values.push(texts([...new Set(names)])))}::text[]`
  // What belongs to a category that is asked for, comes with it.
  const apart = streams?.filter((stream) => !categories?.includes(categoryOf(stream)))
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
  // In this very statement, since another standby may not have come as far.
  const noted = isStandby ? ' AND e.position <= (SELECT h.position FROM SCHEMA.horizon h)' : ''
  const range = `e.position ${beyond} ${after} AND e.position ${within} ${until}${noted}`
  const ofType = byType ? ` AND e.type = ANY (${byType})` : ''
  const find = (names: string, from: string, by: readonly string[]) =>
    `SELECT f.* FROM unnest(${names}) AS n(name) CROSS JOIN LATERAL (
      SELECT e.* FROM SCHEMA.events ${from} AND ${range}${ofType}
        ORDER BY ${by.map((column) => column + descending).join(', ')} LIMIT ${limit}) f`
  // The index has the first event of each run, which may lie before the page: under the same number, then.
  const findRuns = (names: string, run: string, column: string) => {
    // Compared and ordered by both columns of the index, since the planner would take that of positions and filter.
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
  // Who looks again and again where nothing is new has nothing looked up by name.
  const isAny = `${after} ${isForwards ? '<' : '>'} ${until}`
  const rows =
    finds.length > 0 ? `(${finds.join(' UNION ALL ')}) e WHERE ${isAny}` : `SCHEMA.events e WHERE ${range}`
  const statements = page(`SELECT e.* FROM ${rows} ORDER BY e.${order} LIMIT ${limit}`, order)
  return { statements: isStandby ? withNoted(statements) : statements, values }
}
