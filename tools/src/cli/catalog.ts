import { readFile } from 'node:fs/promises'
import { asyncapi, type BreakingChange, type Catalogue, diffCatalogues } from 'mneme/catalogue'

import { loadModule } from '../model.ts'
import type { WorkAlone } from './command.ts'
import { EXIT, UsageError } from './errors.ts'
import type { Column } from './terminal.ts'

export interface CatalogOptions {
  readonly model: string
  readonly against?: string
  readonly asyncapi?: string
}

const COLUMNS: readonly Column<BreakingChange>[] = [
  { name: 'breaks', of: ({ breaks }) => breaks },
  { name: 'change', of: ({ kind }) => kind, minWidth: 70 },
  { name: 'subject', of: ({ subject }) => subject },
  { name: 'what happens', of: ({ message }) => message },
]

/**
 * Writes the catalogue of a program as JSON or as an AsyncAPI document, or says what a change of it would break. Resolves with the
 * exit code.
 */
export async function catalog(
  { terminal, note }: WorkAlone,
  { model, against, asyncapi: title }: CatalogOptions,
): Promise<number> {
  const now = (await loadModule(model)).catalogue
  if (!isCatalogue(now)) {
    throw new UsageError(`${model} has no export 'catalogue': export const catalogue = catalogue({ ... })`)
  }
  if (against !== undefined) {
    const changes = diffCatalogues(await readCatalogue(against), now)
    await terminal.table(changes, COLUMNS)
    await note(
      changes.length === 0 ? 'nothing that is read or written breaks' : `${String(changes.length)} breaks`,
    )
    return changes.length === 0 ? EXIT.ok : EXIT.findings
  }
  const shown = title === undefined ? now : asyncapi(now, { title, version: '1' })
  await terminal.record(shown, () => JSON.stringify(shown, undefined, 2))
  return EXIT.ok
}

async function readCatalogue(file: string): Promise<Catalogue> {
  try {
    const read: unknown = JSON.parse(await readFile(file, 'utf8'))
    if (isCatalogue(read)) return read
  } catch (error) {
    throw new UsageError(`could not read ${file}`, { cause: error })
  }
  throw new UsageError(`${file} is no catalogue, as 'mneme catalog' writes it`)
}

function isCatalogue(value: unknown): value is Catalogue {
  const { format } = Object(value) as { readonly format?: unknown }
  return typeof format === 'string' && format.startsWith('mneme catalogue ')
}
