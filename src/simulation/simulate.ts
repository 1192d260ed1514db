import { ALL_CAPABILITIES } from '../adapter/capabilities.ts'
import { systemEnvironment } from '../base/environment.ts'
import type { Capabilities } from '../adapter/store-adapter.ts'
import { checkOptions, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError, isMnemeError } from '../base/errors.ts'
import type { CommandContext } from '../model/command.ts'
import type { Definition } from '../projections/define.ts'
import { definedProjection, type Projection } from '../projections/projection.ts'
import type { Reaction } from '../reactions/reaction.ts'
import type { Relay } from '../reactions/relay.ts'
import { checkReactions } from '../reactions/run.ts'
import { defaultDriver } from '../stores/sqlite/driver.ts'
import { driverOf } from '../stores/sqlite/projection-target.ts'
import type { Problem } from './check.ts'
import type { Draw } from './draw.ts'
import { checkFaults, FAULT_NAMES, type FaultName, type Faults } from './faults.ts'
import type { SimulatedClock } from './clock.ts'
import { type DrawnCommand, type Property, type RunPlan, runOnce, type RunResult } from './run.ts'

/**
 * What to simulate.
 *
 * @typeParam Drawn what the workload returns.
 */
export interface SimulateOptions<Drawn extends DrawnCommand = DrawnCommand> {
  /**
   * Draws a command, or a command with its key and what it needs. Called once for each command of a run.
   *
   * @param clock of the process that will execute the command: give it to a command that needs one.
   */
  readonly workload: (draw: Draw, clock: SimulatedClock) => Drawn
  /** Default: 1,000. */
  readonly runs?: number | undefined
  /** From 0 to 2 ** 32 - 1. Each run has the seed after that of the run before. Default: drawn, and printed in a failure. */
  readonly seed?: number | undefined
  /** Processes that execute commands on one store. Default: 3. */
  readonly processes?: number | undefined
  /** Commands in each run. Default: 20. */
  readonly commands?: number | undefined
  /** What goes wrong, by probability. Default: everything, now and then. */
  readonly faults?: Faults | undefined
  /** What the simulated store can do. Default: everything. */
  readonly store?: Partial<Pick<Capabilities, 'severalStreams' | 'keys' | 'settlesAny'>> | undefined
  /**
   * Projections that all processes run, by leases. Their targets are replaced by one simulated SQLite database, with the
   * driver of the first of them; so their handlers must be those of a SQLite target, and make their tables in `setup`.
   * After each commit they must hold what their handlers make of the log, one event after the other, up to where they stand.
   */
  readonly projections?: readonly Projection[] | undefined
  /**
   * Reactions and relays that all processes run, by leases, with their state in the same database. They begin at the start.
   * What they did is compared with the log at the end: each call took effect once, or was rejected; each timer fired once, or
   * was cancelled. At the end of a run the clocks are set to one timer after the other. Relays send to a simulated receiver;
   * their `send` is not called.
   */
  readonly reactions?: readonly (Reaction<never> | Relay)[] | undefined
  /** What the commands of the reactions need; must be pure. */
  readonly needs?: object | undefined
  /** Must hold after each append, and after each commit of a projection. */
  readonly always?: Property | undefined
  /** Must hold when all commands are done and everything has arrived. */
  readonly eventually?: Property | undefined
}

/** What a workload returns, with what its commands need. */
type WithNeeds<Drawn> = Drawn extends { readonly handle: unknown }
  ? {} extends NeedsOf<Drawn>
    ? Drawn
    : { readonly '~problem': 'this command needs something: return { command, needs }' }
  : Drawn extends { readonly command: infer C }
    ? {} extends NeedsOf<C>
      ? Drawn
      : Drawn & { readonly needs: NeedsOf<C> }
    : Drawn

/** What a command, or each of several, finds in its context besides the library's own. */
type NeedsOf<C> = (
  C extends { handle(state: never, context: infer Context): unknown }
    ? (needs: Omit<Context, keyof CommandContext | 'on' | 'revision'>) => void
    : never
) extends (needs: infer All) => void
  ? All
  : {}

/** What a simulation did. */
export interface SimulationReport {
  readonly seed: number
  readonly runs: number
  /** How many calls of `execute` were checked. */
  readonly executed: number
  readonly events: number
  /** How calls ended: look at it, because a program in which every command fails breaks no promise. */
  readonly outcomes: SimulatedOutcomes
  /** How often each fault struck. */
  readonly faults: Readonly<Record<FaultName, number>>
}

/** How many calls ended in which way. The rest was never answered, because the process crashed. */
export interface SimulatedOutcomes {
  readonly accepted: number
  /** By reason. */
  readonly rejected: Readonly<Record<string, number>>
  /** By the code of an error of Mneme, or the name of another one. */
  readonly failed: Readonly<Record<string, number>>
}

/** A run in which something was wrong. Its message has the seed, what was wrong, and what happened before. */
export class SimulationError extends Error {
  /** `simulate({ seed, runs: 1, ... })` repeats the run. */
  readonly seed: number
  /** What was wrong, as one word or two. */
  readonly kind: string
  /** What happened in the shortest run that was found to fail in this way. */
  readonly timeline: readonly string[]

  constructor(seed: number, { problem: { kind, message }, timeline, commands }: Shrunk) {
    const count = `${String(commands)} command${commands === 1 ? '' : 's'}`
    const steps = `shrunk to ${count}; simulate({ seed: ${String(seed)}, runs: 1, ... }) repeats the whole run`
    super(`${message}\nseed ${String(seed)}, ${steps}\n\n${timeline.join('\n')}`)
    this.name = 'SimulationError'
    this.seed = seed
    this.kind = kind
    this.timeline = timeline
  }
}

/**
 * Runs a program many times in virtual time: several processes that execute commands on one simulated store and run
 * projections, while answers get lost, writes arrive late, processes crash and clocks jump. Each outcome is checked against
 * the log: what a command stored is what it decides on the very history before it, once; what callers and subscribers were
 * told is so; read models are what their handlers make of the log.
 *
 * Nothing else may use Mneme in this process meanwhile: it would get the simulation's time.
 *
 * @throws SimulationError if something was wrong: the failure is shrunk and has the seed that repeats it.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * await simulate({
 *   runs: 100,
 *   workload: ({ pick }) => close({ door: pick(['front', 'back']), by: pick(['Ann', 'Ben']) }),
 *   always: (world) => world.events <= 2 || 'a door was closed twice',
 * })
 * ```
 */
export async function simulate<Drawn extends DrawnCommand>(
  options: SimulateOptions<Drawn> & { readonly workload: (...drawn: never) => WithNeeds<Drawn> },
): Promise<SimulationReport> {
  const { runs, ...plan } = await checkSimulation(options)
  return simulateRuns(plan, runs)
}

/** Runs a plan with one seed after the other. @throws SimulationError */
export async function simulateRuns(plan: RunPlan, runs: number): Promise<SimulationReport> {
  const faults = Object.fromEntries(FAULT_NAMES.map((name) => [name, 0])) as Record<FaultName, number>
  const outcomes: Counts = { accepted: 0, rejected: {}, failed: {} }
  let executed = 0
  let events = 0
  for (let i = 0; i < runs; i++) {
    const seed = (plan.seed + i) % SEEDS
    const result = await runOnce({ ...plan, seed })
    executed += result.calls.length
    countOutcomes(result.calls, outcomes)
    events += result.events
    for (const [name, count] of result.faults) faults[name] += count
    if (result.problem) throw new SimulationError(seed, await shrink({ ...plan, seed }, result.problem))
  }
  return { seed: plan.seed, runs, executed, events, outcomes, faults }
}

/** The shortest run that was found to fail in the same way. */
interface Shrunk {
  readonly problem: Problem
  readonly timeline: readonly string[]
  readonly commands: number
}

/** Leaves out commands and faults, one after the other, as long as it still fails in the same way. */
async function shrink(plan: RunPlan, first: Problem): Promise<Shrunk> {
  const fails = async (candidate: RunPlan) => (await runOnce(candidate)).problem?.kind === first.kind
  let smallest = plan
  for (const name of FAULT_NAMES) {
    const candidate = { ...smallest, faults: { ...smallest.faults, [name]: 0 } }
    if (smallest.faults[name] > 0 && (await fails(candidate))) smallest = candidate
  }
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (let number = 0; number < plan.commands; number++) {
      if (smallest.without.has(number)) continue
      const candidate = { ...smallest, without: new Set([...smallest.without, number]) }
      if (!(await fails(candidate))) continue
      smallest = candidate
      isSmaller = true
    }
  }
  const timeline: string[] = []
  const { problem }: RunResult = await runOnce({ ...smallest, told: (line) => timeline.push(line) })
  const another =
    'it did not fail again: a run must follow from its seed alone, without a clock or chance of its own'
  timeline.push(`          ->  ${problem?.message ?? another}`)
  return { problem: problem ?? first, timeline, commands: plan.commands - smallest.without.size }
}

function countOutcomes(calls: RunResult['calls'], counts: Counts): void {
  const count = (of: Record<string, number>, name: string) => (of[name] = (of[name] ?? 0) + 1)
  for (const { outcome, error } of calls) {
    if (outcome?.ok === true) counts.accepted++
    else if (outcome) count(counts.rejected, outcome.rejection.reason)
    else if (isMnemeError(error)) count(counts.failed, error.code)
    else if (error !== undefined) count(counts.failed, error instanceof Error ? error.name : typeof error)
  }
}

interface Counts {
  accepted: number
  readonly rejected: Record<string, number>
  readonly failed: Record<string, number>
}

/** @throws InvalidArgumentError; OpenError if there is no driver for SQLite. */
export async function checkSimulation(
  options: SimulateOptions,
): Promise<RunPlan & { readonly runs: number }> {
  const known = ['workload', 'runs', 'seed', 'processes', 'commands', 'faults', 'store'] as const
  checkOptions(options, 'options', [...known, 'projections', 'reactions', 'needs', 'always', 'eventually'])
  const { workload, always, eventually, store = {} } = options
  const {
    runs = 1_000,
    seed = Math.floor(systemEnvironment.random() * SEEDS),
    processes = 3,
    commands = 20,
  } = options
  const functions: Readonly<Record<string, unknown>> = { workload, always, eventually }
  for (const [name, property] of Object.entries(functions)) {
    if (typeof property === 'function' || (name !== 'workload' && property === undefined)) continue
    throw new InvalidArgumentError(name, 'a function')
  }
  checkWhole(runs, 'runs', 1)
  checkWhole(seed, 'seed', 0)
  if (seed >= SEEDS) throw new InvalidArgumentError('seed', 'at most 2 ** 32 - 1')
  checkWhole(processes, 'processes', 1)
  checkWhole(commands, 'commands', 1)
  checkOptions(store, 'store', ['severalStreams', 'keys', 'settlesAny'])
  const { severalStreams = true, keys = true, settlesAny = true } = store
  return {
    ...{ runs, seed, processes, commands, workload, always, eventually },
    faults: checkFaults(options.faults),
    readSide: await checkReadSide(options),
    capabilities: { ...ALL_CAPABILITIES, severalStreams, keys, settlesAny },
    without: new Set(),
  }
}

async function checkReadSide({
  projections = [],
  reactions = [],
  needs = {},
}: SimulateOptions): Promise<RunPlan['readSide']> {
  const definitions = checkProjections(projections)
  const specs = checkReactions(reactions).map(({ spec }) => spec)
  if (definitions.length + specs.length === 0) return undefined
  const [first] = definitions
  const driver = (first && driverOf(first.target)) ?? (await defaultDriver())
  return { definitions, specs, needs, open: () => driver(':memory:') }
}

function checkProjections(projections: readonly Projection[]): readonly Definition[] {
  if (!Array.isArray(projections)) throw new InvalidArgumentError('projections', 'a list of projections')
  const definitions = (projections as readonly Projection[]).map((projection, i) => {
    const definition = definedProjection(projection)?.definition
    const argument = `projections[${String(i)}]`
    if (!definition) throw new InvalidArgumentError(argument, 'made by defineProjection')
    if (definition.target.dialect !== 'sqlite') {
      throw new InvalidArgumentError(
        argument,
        'a projection into SQLite: its handlers run in a simulated one',
      )
    }
    return definition
  })
  if (new Set(definitions.map(({ name }) => name)).size < definitions.length) {
    throw new InvalidArgumentError(
      'projections',
      'of different names: all are kept in one simulated database',
    )
  }
  return definitions
}

const SEEDS = 2 ** 32
