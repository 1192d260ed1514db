import { applyBatch, MAX_BATCH_MS, revealingOf } from './batch.ts'
import type { Definition } from './define.ts'
import type { Handling, Holder } from './handling.ts'
import { PageSize } from './page-size.ts'
import { park } from './parked.ts'

/** How the events of a projection are handled. */
export function projecting(definition: Definition, holder: Holder): Handling {
  const { page, target } = definition
  const pageSize = page && new PageSize(page.size, MAX_BATCH_MS[target.dialect])
  return {
    get maxEvents() {
      return pageSize?.events
    },
    apply: async (build, batch) => {
      const reveal = await revealingOf(definition, batch.events)
      return applyBatch(definition, build, { ...batch, ...holder, reveal, pageSize })
    },
    park: (build, parking) => target.transaction(() => park(build, parking, holder), holder.lease),
  }
}
