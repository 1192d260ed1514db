import type { About } from './api.ts'
import type { CallContext } from './call.ts'
import type { Served } from './inspector.ts'

/** What the inspector looks at. */
export async function about(
  { store }: CallContext,
  _input: unknown,
  { name, program, write }: Served,
): Promise<About> {
  const [identity, head] = await Promise.all([store.identity(), store.logHead()])
  return {
    ...{ name, identity, capabilities: store.capabilities, head: head ?? null, write },
    aggregates: program.aggregates.map(({ name, aggregate }) => ({
      ...{ name, category: String(aggregate.category) },
      types: Object.values(aggregate.events as object).map(({ type }: { type: string }) => type),
    })),
    commands: program.commands.map(({ name, schema }) => ({ name, ...(schema && { schema }) })),
  }
}
