import { applyBatch, revealingOf } from './batch.ts'
import type { Definition } from './define.ts'
import type { Handling, Holder } from './handling.ts'
import { park } from './parked.ts'

/** How the events of a projection are handled. */
export function projecting(definition: Definition, holder: Holder): Handling {
  return {
    apply: async (build, batch) =>
      applyBatch(definition, build, batch, holder, await revealingOf(definition, batch.events)),
    park: (build, parking) => definition.target.transaction(() => park(build, parking, holder), holder.lease),
  }
}
