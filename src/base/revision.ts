/** The head of a stream: the revision of its last event, counted from 0, or `'none'` if it has no event. */
export type Revision = number | 'none'

/**
 * The head that an append expects of a stream: a revision, `'none'` (no event yet), `'exists'` (at least one event), or
 * `'any'` (no expectation, so never a conflict).
 */
export type ExpectedRevision = Revision | 'any' | 'exists'

/**
 * The position of an event in the order of the whole store. Opaque text; positions of one store compare with `<`, and stay
 * the same when the whole database is dumped and restored.
 */
export type Position = string
