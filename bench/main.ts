import { importFigures } from './importing.ts'
import type { Figure } from './measure.ts'
import { memoryFigures } from './memory.ts'
import { sqliteFigures } from './sqlite.ts'

/** `npm run bench [NAME...]`: every figure, or those of `sqlite`, `memory` or `import`. */
const groups: Readonly<Record<string, () => AsyncIterable<Figure> | Iterable<Figure>>> = {
  import: importFigures,
  memory: memoryFigures,
  sqlite: sqliteFigures,
}

const wanted = process.argv.slice(2)
console.log(`Node ${process.version}; each ratio is of medians of five runs, ours and theirs in turn\n`)
for (const [name, figures] of Object.entries(groups)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  for await (const { name, value, goal, reached } of figures()) {
    console.log(`${reached ? 'reached' : 'MISSED '}  ${name}\n         ${value}; to reach: ${goal}`)
  }
}
