/** Where a stream stands: the number of its last event, counted from 0, or `'none'` where it has no event. */
export type Revision = number | 'none'

/**
 * Where an append expects a stream to stand: at a revision, `'none'` (it has no event yet), `'exists'` (it has
 * some), or `'any'` (no expectation, so never a conflict).
 */
export type ExpectedRevision = Revision | 'any' | 'exists'

/**
 * The place of an event in the order of the whole store. Opaque; positions of one store compare with `<`, and
 * survive a dump and restore of the whole database.
 */
export type Position = string
