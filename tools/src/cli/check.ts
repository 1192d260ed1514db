import { checkHistory, type CheckProgress } from 'mneme/history'

import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { EXIT } from './errors.ts'

export interface CheckOptions {
  readonly model: string
  readonly after?: string
}

/** Checks that the program can read what is recorded. Resolves with the exit code. */
export async function check(
  { store, terminal, signal, note, progress }: Work,
  { model, after }: CheckOptions,
): Promise<number> {
  const { aggregates } = await loadModel(model)
  const onProgress = ({ events, time, findings }: CheckProgress) => {
    progress(
      `${String(events)} events checked, up to ${time.slice(0, 10)}; ${counted(findings, 'kind')} of ${findings === 1 ? 'finding' : 'findings'}`,
    )
  }
  const report = await checkHistory(store, aggregates, { after, signal, onProgress })
  await terminal.table(report.findings, [
    { name: 'finding', of: ({ kind }) => kind },
    { name: 'events', of: ({ events }) => String(events), isRight: true },
    { name: 'type', of: ({ type, version }) => `${type} v${String(version)}` },
    { name: 'first', of: ({ first }) => `${first.stream} ${String(first.revision)}` },
  ])
  const others =
    report.others.events > 0 ? `, ${String(report.others.events)} of other streams only counted` : ''
  await note(
    `${String(report.events)} events checked${others}; ${counted(report.findings.length, 'finding')}. ` +
      `Continue later with --after ${report.position ?? '(the start)'}`,
  )
  return report.findings.length > 0 ? EXIT.findings : EXIT.ok
}

function counted(count: number, what: string): string {
  return `${String(count)} ${what}${count === 1 ? '' : 's'}`
}
