import { exportEvents } from 'mneme/history'

import type { Work } from './command.ts'

export interface ExportOptions {
  readonly after?: string
}

/** Writes all events with their idempotency keys as JSON lines, which `importEvents` takes. */
export async function exportLines(
  { store, terminal, signal }: Work,
  { after }: ExportOptions,
): Promise<void> {
  for await (const event of exportEvents(store, { after, signal })) await terminal.json(event)
}
