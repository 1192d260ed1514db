import { coldFigures } from './cold.ts'
import { copyFigures } from './copying.ts'
import { historyFigures } from './history.ts'
import { importFigures } from './importing.ts'
import { kurrentdbFigures } from './kurrentdb.ts'
import { longStreamFigures } from './long-streams.ts'
import type { Figure } from './measure.ts'
import { memoryFigures } from './memory.ts'
import { observabilityFigures } from './observability.ts'
import { personalFigures } from './personal.ts'
import { postgresFigures } from './postgres.ts'
import { projectionFigures } from './projections.ts'
import { reactionFigures } from './reactions.ts'
import { sharedPoolFigures } from './shared-pool.ts'
import { sqliteFigures } from './sqlite.ts'
import { subscriptionFigures } from './subscriptions.ts'
import { tenantFigures } from './tenants.ts'

/** `npm run bench [NAME...]`: every figure, or those of one or more of these groups. */
const groups: Readonly<Record<string, () => AsyncIterable<Figure> | Iterable<Figure>>> = {
  import: importFigures,
  memory: memoryFigures,
  sqlite: sqliteFigures,
  cold: coldFigures,
  postgres: postgresFigures,
  'long-streams': longStreamFigures,
  observability: observabilityFigures,
  'shared-pool': sharedPoolFigures,
  kurrentdb: kurrentdbFigures,
  history: historyFigures,
  copy: copyFigures,
  personal: personalFigures,
  subscriptions: subscriptionFigures,
  projections: projectionFigures,
  reactions: reactionFigures,
  tenants: tenantFigures,
}

const wanted = process.argv.slice(2)
console.log(
  `Node ${process.version}; each ratio is of medians of five runs or more, ours and theirs in turn\n`,
)
for (const [name, figures] of Object.entries(groups)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  for await (const { name, value, goal, reached } of figures()) {
    const verdict = goal === undefined ? 'shown  ' : reached ? 'reached' : 'MISSED '
    console.log(`${verdict}  ${name}\n         ${value}${goal === undefined ? '' : `; to reach: ${goal}`}`)
  }
}
