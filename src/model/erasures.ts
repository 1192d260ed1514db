import { defineEvents } from './event-type.ts'
import { event } from './event-spec.ts'

/** The stream in which a store tells of erasures. Only stores append to it. */
export const ERASURES_STREAM = 'mneme-erasures'

/** Before the hash of a subject: a stream for each, in which the event of its erasure stands once. */
export const SUBJECT_ERASURES = 'mneme-erased-'

/** Whether a stream belongs to the store, which tells of erasures in it. */
export function tellsOfErasures(stream: string): boolean {
  return stream === ERASURES_STREAM || stream.startsWith(SUBJECT_ERASURES)
}

/**
 * The events by which a store tells of erasures, so that projections, reactions and subscribers can forget, too: name them
 * in `from` or `types`. Those of streams lie in a stream of their own, `mneme-erasures`, and that of a subject in one of the subject.
 *
 * @example
 * ```ts
 * import { event, defineAggregate, erasures } from 'mneme'
 * import { defineProjection } from 'mneme/projections'
 * import { sqliteTarget } from 'mneme/sqlite'
 *
 * const Customer = defineAggregate({
 *   name: 'Customer',
 *   events: { Registered: event<{ name: string }>() },
 *   initial: () => ({ name: '' }),
 *   apply: { Registered: (_, { name }) => ({ name }) },
 * })
 * defineProjection({
 *   name: 'customers',
 *   into: sqliteTarget('read-models.db'),
 *   from: [Customer, erasures],
 *   setup: (db) => db.exec('CREATE TABLE customers (stream TEXT PRIMARY KEY, name TEXT)'),
 *   on: {
 *     'Customer.Registered': (e, db) => db.prepare('INSERT INTO customers VALUES (?, ?)').run(e.stream, e.data.name),
 *     'mneme.StreamDeleted': (e, db) => db.prepare('DELETE FROM customers WHERE stream = ?').run(e.data.stream),
 *   },
 * })
 * ```
 */
export const erasures = defineEvents('mneme', {
  /** The events of a stream before a revision were erased. */
  StreamTruncated: event<{ stream: string; before: number }>(),
  /** A stream was deleted for good. */
  StreamDeleted: event<{ stream: string }>(),
  /**
   * The key of a subject's personal data was destroyed, by `eraseSubject` of `mneme/erasure`. `subject` is its keyed hash: see
   * `subjectHashIn` there.
   */
  SubjectErased: event<{ subject: string; erasedAt: string; reason?: string }>(),
})
