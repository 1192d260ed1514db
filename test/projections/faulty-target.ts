import {
  ask,
  type ProjectionTarget,
  type TargetQuery,
  type TargetRow,
  type TargetStep,
  type TargetSteps,
} from '../../src/adapter/projection-target.ts'

/** Where something is done to a transaction of a target. */
export interface Interference {
  /** Before it begins. */
  readonly before?: () => void | Promise<void>
  /** In it, before each of its steps. */
  readonly step?: (step: TargetStep) => void
  /** In it, when all is done but the commit. */
  readonly commit?: () => void
  /** After it was committed, before anybody knows. */
  readonly after?: () => void | Promise<void>
  /** Of each of Mneme's own queries. */
  readonly rewrite?: (query: TargetQuery) => TargetQuery
}

/** A target in whose transactions others interfere: what they throw, the database seems to throw. */
export function faultyTarget<Tx>(
  target: ProjectionTarget<Tx>,
  { before, step, commit, after, rewrite = (query) => query }: Interference,
): ProjectionTarget<Tx> {
  const rewritten = (each: TargetStep) => ('sql' in each ? rewrite(each) : each)
  const faulty: ProjectionTarget<Tx> = {
    dialect: target.dialect,
    async transaction<T>(
      work: (tx: Tx, rows: readonly TargetRow[]) => TargetSteps<T>,
      patience: number,
      first?: TargetQuery,
    ): Promise<T> {
      await before?.()
      const value = await target.transaction(
        function* (tx, rows) {
          if (first) step?.(first)
          const steps = work(tx, rows)
          for (let next = steps.next(); ;) {
            if (next.done) {
              commit?.()
              return next.value
            }
            step?.(next.value)
            let found
            try {
              found = yield rewritten(next.value)
            } catch (error) {
              next = steps.throw(error)
              continue
            }
            next = steps.next(found)
          }
        },
        patience,
        first && rewrite(first),
      )
      await after?.()
      return value
    },
    change: ({ sql, values }) => faulty.transaction(() => ask(sql, ...values), 0),
    query: (sql, values) => target.query(sql, values),
    read: (work) =>
      target.read(function* () {
        const steps = work()
        let next = steps.next()
        while (!next.done) next = steps.next(yield rewritten(next.value))
        return next.value
      }),
    close: () => target.close(),
    [Symbol.asyncDispose]: () => target.close(),
  }
  return faulty
}
