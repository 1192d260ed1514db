import tab from '@bomb.sh/tab/commander'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'

import { check } from './check.ts'
import { copy } from './copy.ts'
import { catalog } from './catalog.ts'
import type { Work, WorkAlone } from './command.ts'
import { EXIT, exitCodeOf, messageOf, UsageError } from './errors.ts'
import { exportLines } from './export.ts'
import { inspect } from './inspect.ts'
import { ls } from './ls.ts'
import { mcp } from './mcp.ts'
import { openExisting, takeUrl } from './open.ts'
import { projections } from './projections.ts'
import { read } from './read.ts'
import { hidingSecrets } from './secrets.ts'
import { state } from './state.ts'
import { stats } from './stats.ts'
import { tail } from './tail.ts'
import { timers } from './timers.ts'
import { trace } from './trace.ts'
import { tryOut } from './try.ts'
import {
  BrokenPipe,
  cut,
  type Output,
  printable,
  printableLines,
  type Surroundings,
  Terminal,
} from './terminal.ts'
import { version } from '../version.ts'

/**
 * Runs a command of `mneme`, like `['ls', 'sqlite:bank.db']`. It writes to what it is given, never to the process.
 *
 * @returns the exit code: 0 if all went well, 1 if it failed, 2 if it was given wrongly, 3 if there is no such store or it cannot
 *   be reached, 4 if a check has found something, 130 if it was interrupted.
 */
export async function run(args: readonly string[], given: Surroundings): Promise<number> {
  const { signal } = given
  const hide = hidingSecrets([...args, given.env.MNEME_URL])
  const err: Output = {
    write: (text) => given.err.write(hide(text)),
    get columns() {
      return given.err.columns
    },
  }
  const surroundings = { ...given, err }
  let code: number = EXIT.ok
  const told: Promise<void>[] = []
  const program = makeProgram(surroundings, told, async (verb, typed, options) => {
    const { url, rest } = verb.work ? takeUrl(typed, surroundings.env) : { url: '', rest: typed }
    const most = verb.arguments ?? 0
    if (rest.length > most) throw new UsageError(`too many arguments: ${rest.slice(most).join(' ')}`)
    const store = verb.work && (await openExisting(url))
    const progress = progressOn(err)
    try {
      const terminal = new Terminal(surroundings, options.json === true)
      const note = (text: string) => err.write(`${progress.end()}${printable(text)}\n`)
      const alone = { terminal, pipes: given.pipes, args: rest, signal, note, progress: progress.show }
      const ended = store
        ? verb.work({ ...alone, store, url }, options as never)
        : verb.workAlone!(alone, options as never)
      code = (await ended) ?? EXIT.ok
    } finally {
      const cleared = progress.end()
      if (cleared !== '') await err.write(cleared)
      await store?.close()
    }
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return signal.aborted ? EXIT.interrupted : code
  } catch (error) {
    if (error instanceof BrokenPipe) return EXIT.ok
    if (error instanceof CommanderError) {
      await Promise.all(told)
      return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    }
    if (signal.aborted) return EXIT.interrupted
    await err.write(`mneme: ${printableLines(messageOf(error, hide))}\n`)
    return exitCodeOf(error)
  }
}

type Given = Readonly<Record<string, unknown>> & { readonly json?: boolean }

interface Verb {
  readonly name: string
  readonly description: string
  /** What stands behind the URL, and how many of them there may be. */
  readonly usage?: string
  readonly arguments?: number
  readonly options: readonly Option[]
  readonly work?: (work: Work, options: never) => Promise<number | undefined>
  /** Instead, of a verb that needs no store. */
  readonly workAlone?: (work: WorkAlone, options: never) => Promise<number | undefined>
}

const category = new Option(
  '-c, --category <name>',
  'only streams of this category; may be repeated',
).argParser(collect)
const type = new Option('-t, --type <name>', 'only events of this type; may be repeated').argParser(collect)
const limit = new Option('-n, --limit <count>', 'how many at most').argParser(count)
const after = new Option('--after <position>', 'only what follows this position of the store')
const optionalModel = () => new Option('-m, --model <file>', "a module that exports the program's aggregates")
const model = optionalModel().makeOptionMandatory()

const VERBS: readonly Verb[] = [
  {
    name: 'ls',
    description: 'list the streams',
    options: [
      new Option('-c, --category <name>', 'only streams of this category'),
      new Option('--after <stream>', 'only names behind this one'),
      limit,
    ],
    work: done(ls),
  },
  {
    name: 'read',
    description: 'read the events of a stream, or of all streams in their order',
    usage: '[stream]',
    arguments: 1,
    options: [
      ...[category, type, limit, after],
      new Option('--from <revision>', 'the first revision to read').argParser(count),
      new Option('-b, --backwards', 'the newest first'),
      new Option('-f, --full', 'all that is recorded of each event'),
    ],
    work: done(read),
  },
  {
    name: 'tail',
    description: 'show the last events, and with --follow each new one',
    usage: '[stream...]',
    arguments: Infinity,
    options: [
      new Option('-n, --lines <count>', 'how many of the last events').argParser(count).default(10),
      new Option('-f, --follow', 'go on with new events until Ctrl-C'),
      ...[category, type],
    ],
    work: done(tail),
  },
  {
    name: 'state',
    description: 'show the state of a stream, now or at an earlier revision',
    usage: '<stream>',
    arguments: 1,
    options: [
      model,
      new Option('--at <revision>', 'as of this revision').argParser(count),
      new Option('--diff', 'what the event of that revision has changed'),
    ],
    work: done(state),
  },
  {
    name: 'trace',
    description: 'show what an event follows from, and what follows from it, as a tree',
    usage: '<event id or correlation>',
    arguments: 1,
    options: [],
    work: done(trace),
  },
  {
    name: 'stats',
    description: 'count the events of each category and type',
    options: [],
    work: done(stats),
  },
  {
    name: 'projections',
    description: 'list the projections, reactions and relays of a database, or show all of one',
    usage: '[name]',
    arguments: 1,
    options: [
      new Option('--unblock', 'let the one that is named try again, if it is blocked'),
      new Option('--write', 'write to the database, as --unblock does'),
    ],
    work: done(projections),
  },
  {
    name: 'timers',
    description: 'show the timers of the reactions of a database, in the order of their due time',
    usage: '[reaction...]',
    arguments: Infinity,
    options: [limit],
    work: done(timers),
  },
  {
    name: 'check',
    description: 'check that the program can read what is recorded',
    options: [model, after],
    work: check,
  },
  {
    name: 'try',
    description: 'say what a command would do, now or as of an event; nothing is appended',
    usage: '<command> [input as JSON]',
    arguments: 2,
    options: [
      model,
      new Option('--at <stream@revision>', 'on the store as it stood at this event'),
      new Option('--actor <name>', 'who would give the command'),
    ],
    work: tryOut,
  },
  {
    name: 'catalog',
    description: "write the program's catalogue as JSON, or say what a change of it breaks",
    options: [
      new Option('-m, --model <file>', "a module that exports its 'catalogue'").makeOptionMandatory(),
      new Option('--against <file>', 'compare it with an earlier one, as this command wrote it'),
      new Option('--asyncapi <title>', 'as an AsyncAPI 3 document'),
    ],
    workAlone: catalog,
  },
  {
    name: 'inspect',
    description: 'serve a page that shows the store in a browser, on this machine only, until Ctrl-C',
    options: [
      optionalModel(),
      new Option(
        '--read-models <url>',
        'a database with projections and reactions, if it is not that of the store; may be repeated',
      ).argParser(collect),
      new Option('-p, --port <number>', 'the port; any free one by default').argParser(count),
      new Option('--open', 'open the page in a browser'),
      new Option(
        '--write',
        'let the page unblock projections and reactions; each time is logged in the store',
      ),
    ],
    work: done(inspect),
  },
  {
    name: 'mcp',
    description:
      'show the store to a language model, by the Model Context Protocol on standard input and output',
    options: [optionalModel()],
    work: done(mcp),
  },
  {
    name: 'export',
    description: 'write all events with their idempotency keys as JSON lines',
    options: [after],
    work: done(exportLines),
  },
  {
    name: 'copy',
    description: 'copy a store into another one; interrupted, it goes on when it is called again',
    usage: '<url of the other>',
    arguments: 1,
    options: [
      new Option('--write', 'write to the other store, which is made if it is not there'),
      new Option('--dry-run', 'only say what would be written'),
      new Option('--verify', 'compare both at the end'),
      new Option('-f, --follow', 'go on with new events until Ctrl-C'),
      new Option('--transform <file>', 'a module whose default export says what becomes of each event'),
    ],
    work: copy,
  },
]

function makeProgram(
  { out, err }: Surroundings,
  told: Promise<void>[],
  start: (verb: Verb, args: readonly string[], options: Given) => Promise<void>,
): Command {
  const configure = (command: Command) =>
    command.exitOverride().configureOutput({
      writeOut: (text) => told.push(out.write(text)),
      writeErr: (text) => told.push(err.write(printableLines(text))),
      getOutHelpWidth: () => out.columns ?? 100,
      getErrHelpWidth: () => err.columns ?? 100,
    })
  const program = configure(new Command('mneme'))
    .description('Looks at any Mneme store, and copies it. Nothing is written without --write.')
    .addHelpText('after', EPILOGUE)
    .version(version)
    .configureHelp({ subcommandTerm: (verb) => `${verb.name()} ${verb.usage()}` })
  for (const verb of VERBS) {
    const command = configure(program.command(verb.name))
      .description(verb.description)
      .usage(`${verb.work ? '[url] ' : ''}${verb.usage === undefined ? '' : `${verb.usage} `}[options]`)
      .argument('[args...]')
      .option('--json', 'JSON lines, for programs')
      .action((args: string[], options: Given) => start(verb, args, options))
    command.configureHelp({ visibleArguments: () => [] })
    for (const option of verb.options) command.addOption(option)
  }
  tab(program)
  const completion = program.commands.find((command) => command.name() === 'complete')
  completion?.description(
    'write what completes commands and options in a shell: bash, zsh, fish or powershell',
  )
  return program
}

const EPILOGUE = `
The URL of a store is like sqlite:bank.db, postgres://user@host/database or
kurrentdb://host:2113. If MNEME_URL has it, it may be left out, and no password
stands in the list of processes.

Exit codes: 0 done, 1 failed, 2 given wrongly, 3 no such store, or it cannot be
reached, 4 a check has found something, 130 interrupted (143 by SIGTERM).`

/** One line on a terminal that is written over, and removed before anything else is written there. */
function progressOn(err: Output) {
  let isShown = false
  const end = () => {
    const text = isShown ? CLEAR : ''
    isShown = false
    return text
  }
  const show = (text: string) => {
    const { columns } = err
    if (columns === undefined) return
    isShown = true
    // Nobody waits for it; if it cannot be written, what follows says so.
    err.write(`${CLEAR}${cut(text, columns - 1)}`).catch(() => undefined)
  }
  return { show, end }
}

const CLEAR = '\r\u001b[2K'

/** A verb that always ends well, unless it throws. */
function done<Options>(verb: (work: Work, options: Options) => Promise<void>) {
  return async (work: Work, options: Options) => {
    await verb(work, options)
    return EXIT.ok
  }
}

function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text]
}

function count(text: string): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number
  throw new InvalidArgumentError('It has to be a whole number from 0.')
}
