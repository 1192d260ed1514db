import type { Capabilities, StoreAdapter } from '../adapter/store-adapter.ts'
import { isMnemeError } from '../base/errors.ts'
import type { Boundary, Command } from '../model/command.ts'
import type { AnyStream } from '../model/stream.ts'
import { tryExecute } from '../execution/execute.ts'
import type { ReactionSpec, RelaySpec } from '../reactions/spec.ts'
import { createStore } from '../store/create-store.ts'
import type { TargetRow, TargetValue } from '../adapter/projection-target.ts'
import type { Checkpoint, EventStore, Subscription } from '../store/event-store.ts'
import { type CallRecord, CALL, checkCalls, type Problem } from './check.ts'
import { CommandClock, type SimulatedClock } from './clock.ts'
import { Contexts } from './contexts.ts'
import { Draw } from './draw.ts'
import type { FaultName, Faults } from './faults.ts'
import { History } from './history.ts'
import { Network } from './network.ts'
import { type PlannedReadSide, type Reader, ReadSide, type Target } from './read-side.ts'
import { Scheduler, SimulatedProcess } from './scheduler.ts'
import { SimulatedStore } from './store.ts'

/** What a workload may return. */
export type DrawnCommand = Command<Boundary, unknown> | SimulatedCommand

/** A command of the workload, with what it is executed with. */
export interface SimulatedCommand {
  readonly command: Command<Boundary, unknown>
  /** Its idempotency key: after a crash or an unknown outcome, it is executed again under it. */
  readonly key?: string | undefined
  /** What the command needs. */
  readonly needs?: object | undefined
}

/** What is true at some moment of a simulation. */
export interface World {
  /** The state of one stream. */
  state<State>(stream: { readonly stream: string; readonly fold: { initial(): State } }): State
  /** The names of the streams that have events. */
  readonly streams: readonly string[]
  /** How many events the log has. */
  readonly events: number
  /**
   * Reads what the projections have committed, in the SQL of SQLite.
   *
   * @typeParam Row the type of the rows, which is not checked.
   */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as of a target's query
  query<Row extends object = TargetRow>(sql: string, ...values: readonly TargetValue[]): readonly Row[]
}

/** A property: `true`, or what is wrong. */
export type Property = (world: World) => boolean | string

/** One run, in full. */
export interface RunPlan {
  readonly seed: number
  readonly processes: number
  readonly commands: number
  readonly workload: (draw: Draw, clock: SimulatedClock) => DrawnCommand
  readonly faults: Required<Faults>
  readonly capabilities: Capabilities
  readonly readSide: PlannedReadSide | undefined
  readonly always: Property | undefined
  readonly eventually: Property | undefined
  /** Commands that are left out, by number: to shrink a failure. */
  readonly without: ReadonlySet<number>
  /** Called with each line of the timeline. */
  readonly told?: ((line: string) => void) | undefined
  /** Faults of Mneme itself, which the checks must find. */
  readonly planted?: Planted | undefined
}

/** What is changed in each process, to plant a fault. */
export interface Planted {
  readonly adapter?: (adapter: StoreAdapter) => StoreAdapter
  readonly target?: (target: Target) => Target
  readonly outcome?: (outcome: AnyOutcome) => AnyOutcome
  readonly reaction?: (spec: ReactionSpec | RelaySpec) => ReactionSpec | RelaySpec
}

type AnyOutcome = NonNullable<CallRecord['outcome']>

/** The outcome of a run. */
export interface RunResult {
  readonly problem: Problem | undefined
  readonly calls: readonly CallRecord[]
  readonly events: number
  readonly faults: ReadonlyMap<FaultName, number>
}

/** Runs several processes of a program over one store once, and checks what they were told against its log. */
export async function runOnce(plan: RunPlan): Promise<RunResult> {
  let run: Run
  try {
    run = new Run(plan)
  } catch (error) {
    if (error instanceof WorkloadError) {
      return {
        problem: { kind: 'workload', message: error.message },
        calls: [],
        events: 0,
        faults: new Map(),
      }
    }
    throw error
  }
  try {
    const problem = await run.problem()
    const { calls, log, struck } = run
    return { problem, calls, events: log.length, faults: struck }
  } finally {
    run.close()
  }
}

/** A property asks the read models, which no process has set up yet: it says nothing. */
class NotSetUp extends Error {}

/** The workload threw. */
class WorkloadError extends Error {}

/** What a process still has to do. */
interface Task extends SimulatedCommand {
  readonly number: number
  readonly clock: CommandClock
  readonly start: number
  attempts: number
}

/** What a process keeps on its own disk, which survives a crash. */
interface Disk {
  readonly name: string
  readonly tasks: Set<Task>
  /** The events that its subscriber was given, by id, and where it stands. */
  readonly seen: string[]
  checkpoint: Checkpoint | undefined
  subscription: Subscription | undefined
  process: SimulatedProcess
  starts: number
  reader: Reader | undefined
}

class Run {
  readonly calls: CallRecord[] = []
  readonly struck = new Map<FaultName, number>()
  readonly #plan: RunPlan
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #store: SimulatedStore
  readonly #readSide: ReadSide | undefined
  readonly #history: History
  readonly #disks: Disk[] = []
  readonly #contexts: Contexts
  #problem: Problem | undefined
  /** Whether there are no faults any more. */
  #isCalm = false
  /** How often the clocks were set to the next timer, and the latest time to which; Infinity once no timer waits. */
  #advances = 0
  #latest = -Infinity
  /** The virtual time at which the run must have ended. */
  #endsAt = END_MS

  constructor(plan: RunPlan) {
    this.#plan = plan
    const draw = new Draw(plan.seed)
    this.#scheduler = new Scheduler(draw)
    this.#contexts = new Contexts(draw.happens(CONTEXTS_CHECKED), (problem) => {
      this.#fail('context', problem)
    })
    const faults = { ...plan.faults }
    this.#network = new Network(new SimulatedProcess('servers', this.#scheduler), this.#scheduler, {
      faults,
      noted: (what, process, fault) => {
        if (fault) this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1)
        this.#tell(process.name, what)
        if (fault === 'crash') this.#restart(process)
      },
    })
    this.#store = new SimulatedStore(this.#network, {
      capabilities: plan.capabilities,
      appended: () => {
        this.#check('always', plan.always)
      },
    })
    this.#history = new History(this.log)
    const tasks = this.#tasks()
    this.#readSide =
      plan.readSide &&
      new ReadSide({
        ...{ planned: plan.readSide, network: this.#network, log: this.log, plant: plan.planted ?? {} },
        told: (process, what) => {
          this.#tell(process.name, what)
        },
        found: ({ kind, message }) => {
          this.#fail(kind, message)
        },
        committed: () => {
          this.#check('always', plan.always)
        },
      })
    for (let i = 0; i < plan.processes; i++) {
      const name = `process ${String(i + 1)}`
      const process = new SimulatedProcess(name, this.#scheduler)
      const own = tasks.filter(({ number }) => number % plan.processes === i)
      this.#disks.push({
        name,
        tasks: new Set(own),
        seen: [],
        checkpoint: undefined,
        subscription: undefined,
        process,
        starts: 0,
        reader: undefined,
      })
    }
    this.#calm = () => {
      for (const fault of Object.keys(faults) as FaultName[]) faults[fault] = 0
    }
  }

  /** Ends all faults, so that what must come true in the end can. */
  readonly #calm: () => void

  get log(): SimulatedStore['data']['log'] {
    return this.#store.data.log
  }

  close(): void {
    this.#contexts.close()
    this.#readSide?.close()
  }

  /** Runs to the end. @returns what went wrong. */
  async problem(): Promise<Problem | undefined> {
    for (const disk of this.#disks) this.#start(disk, 0)
    const isOver = () => this.#problem !== undefined || this.#isDone()
    const isDone = await this.#scheduler.run(isOver, () => this.#endsAt)
    if (this.#problem) return this.#problem
    if (!isDone) return this.#unfinished()
    return (
      this.#checkSeen() ??
      (await checkCalls(this.#history, this.calls)) ??
      (await this.#checkReactions()) ??
      (this.#check('eventually', this.#plan.eventually), this.#problem)
    )
  }

  #tasks(): Task[] {
    const { commands, seed, workload, without } = this.#plan
    const tasks: Task[] = []
    for (let number = 0; number < commands; number++) {
      // Each command draws by itself, so that leaving one out changes no other.
      const draw = new Draw(seed + (number + 1) * 2 ** 32)
      const clock = new CommandClock()
      const drawn = checkDrawn(drawnBy(() => workload(draw, clock)))
      const start = draw.number() * START_MS
      if (without.has(number)) continue
      const task = 'handle' in drawn ? { command: drawn } : drawn
      tasks.push({ ...task, number, clock, start, attempts: 0 })
    }
    return tasks
  }

  #start(disk: Disk, after: number): void {
    const { process } = disk
    disk.starts++
    process.isDurable = disk.starts > MAX_STARTS
    this.#scheduler.after(process, after, () => {
      if (disk.starts > 1) this.#tell(process.name, 'starts again')
      const adapter = this.#store.connect(process)
      const store = createStore(this.#plan.planted?.adapter?.(adapter) ?? adapter)
      void this.#follow(disk, store)
      void this.#project(disk, process, store)
      for (const task of disk.tasks) void this.#execute(disk, store, task, process)
    })
  }

  #restart(process: SimulatedProcess): void {
    const disk = this.#disks.find((candidate) => candidate.process === process)
    if (!disk) return
    // What was begun without a key is not begun again: nobody knows whether it happened.
    for (const task of disk.tasks) if (task.attempts > 0 && task.key === undefined) disk.tasks.delete(task)
    disk.process = new SimulatedProcess(disk.name, this.#scheduler)
    this.#start(disk, this.#scheduler.draw.integer(1, 200))
  }

  async #execute(disk: Disk, store: EventStore, task: Task, process: SimulatedProcess): Promise<void> {
    const { number, command, key, needs = {}, clock, start } = task
    const metadata = { [CALL]: String(number) }
    await this.#pause(process, Math.max(0, start - this.#scheduler.time))
    clock.start()
    for (;;) {
      task.attempts++
      const call: CallRecord = {
        ...{ number, command, needs, metadata, key, from: this.log.length, to: Infinity },
        ...{ outcome: undefined, error: undefined, clock },
      }
      this.calls.push(call)
      this.#tell(disk.name, () => `executes command ${String(number)}: ${nameOf(command)}`)
      try {
        const options = { metadata, key, needs }
        const outcome: AnyOutcome = await this.#contexts.run(call, (watched) =>
          tryExecute(store, watched as never, options as never),
        )
        call.outcome = this.#plan.planted?.outcome?.(outcome) ?? outcome
      } catch (error) {
        call.error = error
      }
      call.to = this.log.length
      const told = call.outcome?.ok === true ? (call.outcome.events as readonly { id: string }[]) : []
      if (this.#scheduler.draw.happens(0.2)) void this.#waitCaughtUp(disk, told.at(-1)?.id)
      if (this.#readSide && disk.reader) {
        const position = call.outcome?.ok === true ? call.outcome.position : undefined
        if (this.#scheduler.draw.happens(0.2)) void this.#readSide.waitCaughtUp(disk.reader, position)
        void this.#readSide.rebuild(disk.reader)
      }
      this.#tell(disk.name, () => `is told of command ${String(number)}: ${answerOf(call)}`)
      const isUnknown =
        isMnemeError(call.error) && (call.error.isRetryable || call.error.code === 'OUTCOME_UNKNOWN')
      if (key === undefined || !isUnknown || task.attempts > MAX_ATTEMPTS) break
      await this.#pause(process, 5)
    }
    disk.tasks.delete(task)
  }

  #pause(process: SimulatedProcess, milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.#scheduler.after(process, milliseconds, resolve)
    })
  }

  /** A subscriber: it must be given the log, each event once and in order, also across crashes. */
  async #follow(disk: Disk, store: EventStore): Promise<void> {
    const subscription = store.subscribe({ from: disk.checkpoint ?? 'start' })
    disk.subscription = subscription
    try {
      for await (const { id } of subscription) {
        disk.seen.push(id)
        disk.checkpoint = subscription.checkpoint
        const expected = this.log[disk.seen.length - 1]?.id
        if (id !== expected) {
          this.#fail(
            'subscription',
            `${disk.name} was given ${id} as event ${String(disk.seen.length)}; the log has ${String(expected)}`,
          )
          return
        }
      }
    } catch (error) {
      this.#fail('subscription', `the subscription of ${disk.name} ended with ${String(error)}`)
    }
  }

  async #project(disk: Disk, process: SimulatedProcess, store: EventStore): Promise<void> {
    disk.reader = undefined
    disk.reader = await this.#readSide?.run(process, store)
  }

  /** A caller who was told of an event and then waits for `caughtUp()` finds that the subscriber was given it. */
  async #waitCaughtUp({ name, seen, subscription }: Disk, id: string | undefined): Promise<void> {
    if (!subscription || !this.log.some((event) => event.id === id)) return
    try {
      await subscription.caughtUp()
    } catch {
      return // the subscription has ended, which is reported where it is read
    }
    if (id === undefined || seen.includes(id)) return
    this.#fail(
      'caught up',
      `${name} has caught up, but its subscriber was not given ${id}, of which it had been told`,
    )
  }

  #isDone(): boolean {
    const isExecuted = this.#disks.every(({ tasks }) => tasks.size === 0) && this.#network.ghosts === 0
    if (!isExecuted) return false
    if (!this.#isCalm) {
      this.#isCalm = true
      this.#endsAt = this.#scheduler.time + CALM_MS
      this.#calm()
      for (const { process } of this.#disks) process.pausedUntil = 0
    }
    const isSeen = this.#disks.every(({ seen }) => seen.length >= this.log.length)
    return isSeen && this.#readSide?.behind(this.log.length) === undefined && this.#areTimersDone()
  }

  /** Whether no timer is to be fired. If one waits, the clocks are set to its time, some times. */
  #areTimersDone(): boolean {
    const due = this.#readSide?.reactions.nextTimer()
    if (due === undefined) {
      this.#latest = Infinity
      return true
    }
    if (due <= this.#latest) return false
    if (this.#advances++ >= MAX_ADVANCES) return true
    for (const { process } of this.#disks) process.clockOffset += Math.max(0, due - process.date())
    this.#latest = Math.max(...this.#disks.map(({ process }) => process.date()))
    this.#endsAt = this.#scheduler.time + CALM_MS
    return false
  }

  #checkReactions(): Promise<Problem | undefined> | undefined {
    return this.#readSide?.reactions.check({
      ...{ history: this.#history, keys: this.#store.usedKeys(), until: this.#latest },
      isPunctual: !this.struck.has('clockJump'),
    })
  }

  #checkSeen(): Problem | undefined {
    const disk = this.#disks.find(({ seen }) => seen.length !== this.log.length)
    return disk && { kind: 'subscription', message: `${disk.name} was given more events than the log has` }
  }

  #unfinished(): Problem {
    const waiting = this.#disks.flatMap(({ tasks }) => [...tasks].map(({ number }) => String(number)))
    if (waiting.length > 0)
      return { kind: 'hangs', message: `commands that never end: ${waiting.join(', ')}` }
    const behind = this.#disks.filter(({ seen }) => seen.length < this.log.length).map(({ name }) => name)
    if (behind.length > 0)
      return { kind: 'subscription', message: `${behind.join(', ')} did not get every event` }
    const follower = this.#readSide?.behind(this.log.length)
    if (follower === undefined) return { kind: 'effect', message: 'a timer that is due is not fired' }
    return { kind: 'read model', message: `'${follower}' does not handle every event` }
  }

  #check(kind: string, property: Property | undefined): void {
    if (!property || this.#problem) return
    const history = this.#history
    const world: World = {
      state: (stream) => history.stateAt(stream as unknown as AnyStream) as never,
      get streams() {
        return history.streams()
      },
      events: this.log.length,
      query: (sql, ...values) => {
        if (!this.#readSide) throw new Error('there are no projections to query: give simulate some')
        if (!this.#readSide.isSetUp) throw new NotSetUp()
        return this.#readSide.database.rows(sql, values) as never
      },
    }
    try {
      const holds: unknown = property(world)
      if (holds === true) return
      const wrong = `the property '${kind}' returned ${String(holds)}: return true, or a text that says what is wrong`
      this.#fail(
        kind,
        typeof holds === 'string' ? holds : holds === false ? `the property '${kind}' does not hold` : wrong,
      )
    } catch (error) {
      if (!(error instanceof NotSetUp)) this.#fail(kind, `the property '${kind}' threw ${String(error)}`)
    }
  }

  #fail(kind: string, message: string): void {
    this.#problem ??= { kind, message }
  }

  #tell(who: string, what: string | (() => string)): void {
    const { told } = this.#plan
    if (!told) return
    const time = this.#scheduler.time.toFixed(1).padStart(8)
    told(`${time} ms  ${who} ${typeof what === 'string' ? what : what()}`)
  }
}

function checkDrawn(drawn: DrawnCommand): DrawnCommand {
  const isObject = typeof (drawn as unknown) === 'object' && (drawn as unknown) !== null
  const { command } = isObject && 'command' in drawn ? drawn : { command: drawn }
  if (isObject && typeof (Object(command) as { readonly handle?: unknown }).handle === 'function')
    return drawn
  throw new WorkloadError('the workload returned something else than a command or { command, key, needs }')
}

function drawnBy<T>(draw: () => T): T {
  try {
    return draw()
  } catch (error) {
    throw new WorkloadError(`the workload threw ${String(error)}`)
  }
}

function nameOf({ name, input }: Command<Boundary, unknown>): string {
  const text = input === undefined ? '' : JSON.stringify(input)
  return `${name ?? ''}(${text.length > 100 ? `${text.slice(0, 100)}…` : text})`
}

function answerOf({ outcome, error }: CallRecord): string {
  if (!outcome) return String(error)
  if (!outcome.ok) return `rejected, ${outcome.rejection.reason}`
  const events = outcome.events as readonly { type: string }[]
  return `${events.map(({ type }) => type).join(', ') || 'no events'}${outcome.repeated ? ', repeated' : ''}`
}

/** A process that was started so often does not crash any more, so that every run ends. */
const MAX_STARTS = 20
/** In how many of the runs the asynchronous contexts of callers are checked: on older runtimes they slow all promises down. */
const CONTEXTS_CHECKED = 0.02
/** Commands begin within so many milliseconds. */
const START_MS = 100
/** Milliseconds of virtual time after which all commands must have ended. */
const END_MS = 120_000
/** Milliseconds of virtual time, without faults, after which everything must have arrived. */
const CALM_MS = 15_000
/** How many times of timers the clocks are set to at the end of a run: some set themselves again for ever. */
const MAX_ADVANCES = 50
/** How often a command with a key is executed while it is not known whether it happened. */
const MAX_ATTEMPTS = 5
