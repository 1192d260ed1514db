/** Whether soaks run briefly: `npm run test:soak -- --brief`. */
export const isBrief = process.env.MNEME_SOAK === 'brief'

/** Whether tests that are brief in `npm test` run at full length. */
export const isFull = process.env.MNEME_SOAK === 'full'

/** What is drawn at random hangs on it, if it is given: `MNEME_SEED`. */
export const seed = process.env.MNEME_SEED === undefined ? undefined : Number(process.env.MNEME_SEED)

/** What the rounds of one test may take; the test has at least one, however slow the machine is. */
const BUDGET_SECONDS = isBrief ? 20 : 300

/** Counts the rounds of a soak from 0: so many in full or brief, fewer if the machine needs more than the budget. */
export function* rounds({ full, brief }: { full: number; brief: number }): Generator<number, void> {
  const wanted = isBrief ? brief : full
  const end = performance.now() + BUDGET_SECONDS * 1_000
  for (let round = 0; round < wanted; round++) {
    if (round > 0 && performance.now() > end) {
      console.log(`${round} of ${wanted} rounds, because the ${BUDGET_SECONDS} s of this test are used up`)
      return
    }
    yield round
  }
}
