import type { TrialResult } from '../inspector/api.ts'
import { checkProgram } from '../inspector/program.ts'
import { States } from '../inspector/states.ts'
import { tryCommand } from '../inspector/trial.ts'
import { loadModel } from '../model.ts'
import type { Work } from './command.ts'
import { EXIT, UsageError } from './errors.ts'
import { nameOf } from './open.ts'
import { printable, printableLines } from './terminal.ts'

export interface TryOptions {
  readonly model: string
  readonly at?: string
  readonly actor?: string
}

const CODES = { accepted: EXIT.ok, rejected: EXIT.findings, failed: EXIT.failed } as const

/** Says what a command would do, now or as of an event, and appends nothing. Resolves with the exit code. */
export async function tryOut(
  { store, url, terminal, args, signal }: Work,
  { model, at, actor }: TryOptions,
): Promise<number> {
  const { named, needs } = await loadModel(model)
  const program = checkProgram({ ...named, needs })
  const known = program.commands.map(({ name }) => name).join(', ')
  const [command, text = '{}'] = args
  if (command === undefined || !program.commands.some(({ name }) => name === command)) {
    const what = command === undefined ? 'name a command' : `the model has no command '${command}'`
    throw new UsageError(`${what}; there are: ${known === '' ? 'none' : known}`)
  }
  const input = { command, with: inputIn(text), at: at === undefined ? undefined : placeIn(at), actor }
  const served = { name: nameOf(url), program, states: new States(store) }
  const result = await tryCommand({ store, signal }, input, served)
  await terminal.record(result, () => shown(result))
  return CODES[result.outcome]
}

function inputIn(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new UsageError('the input of the command has to be JSON, like \'{"amount": 5}\'', { cause: error })
  }
}

/** `Account-a@3`: the event of revision 3 on that stream. */
function placeIn(text: string): { readonly stream: string; readonly revision: number } {
  const [, stream, revision] = /^(.+)@(\d+)$/s.exec(text) ?? []
  if (stream !== undefined) return { stream, revision: Number(revision) }
  throw new UsageError(`--at takes a stream and a revision, like Account-a@3, not '${text}'`)
}

function shown(result: TrialResult): string {
  const json = (value: unknown) => printableLines(JSON.stringify(value, undefined, 2))
  if (result.outcome === 'rejected') return `rejected ${json(result.rejection.value)}`
  if (result.outcome === 'failed') return printable(`failed: ${result.error.message}`)
  if (result.events.length === 0) return 'accepted; it would append nothing'
  const events = result.events.map(
    ({ stream, revision, type, data }) =>
      `  ${printable(`${stream} ${String(revision)}  ${type}`)}  ${printable(JSON.stringify(data.value))}${data.cuts.length > 0 ? ' …' : ''}`,
  )
  return ['accepted; it would append', ...events].join('\n')
}
