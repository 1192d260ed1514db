import { asyncHooks, type AsyncStorage } from '../base/caller-context.ts'
import { InvalidArgumentError, quote } from '../base/errors.ts'
import { isAsyncFunction, isThenable } from '../base/functions.ts'
import type { Boundary, Command } from '../model/command.ts'
import type { StoreCore } from '../store/lifecycle.ts'

type AnyCommand = Command<Boundary, unknown, unknown>

/** A `handle` that is running: a command that it executes must not wait for its streams. */
export interface RunningHandle {
  readonly core: StoreCore
  readonly command: AnyCommand
  /** The streams that it read. */
  readonly streams: { has(stream: string): boolean }
  /** The `handle` that executed this command, if there is one. */
  readonly within: RunningHandle | undefined
  isOver: boolean
}

/** The `handle` from which this is called, if it is called from one. */
export function runningHandle(): RunningHandle | undefined {
  let handle = current ?? storage?.getStore()
  while (handle?.isOver) handle = handle.within
  return handle
}

/**
 * Runs a `handle`.
 *
 * An `AsyncLocalStorage` costs Node 20 some time for each promise of the whole process, so it is used only from the first
 * `handle` that is async or returns a promise. Until then, and in the synchronous part of each `handle`, a variable is enough.
 */
export function runHandle(handle: RunningHandle, call: () => unknown): unknown {
  const before = current
  current = handle
  let returned: unknown
  try {
    if (isAsyncFunction((handle.command as { readonly handle: unknown }).handle)) useStorage()
    returned = storage ? storage.run(handle, call) : call()
  } catch (error) {
    handle.isOver = true
    throw error
  } finally {
    current = before
  }
  if (!isThenable(returned)) {
    handle.isOver = true
    return returned
  }
  useStorage()
  const over = () => {
    handle.isOver = true
  }
  returned.then(over, over)
  return returned
}

/** Refuses a command that would wait for the `handle` that executes it. @throws InvalidArgumentError */
export function checkNotNested(
  command: AnyCommand,
  core: StoreCore,
  streams: readonly string[],
  within: RunningHandle | undefined,
): void {
  for (let outer = within; outer; outer = outer.within) {
    if (outer.core !== core || outer.isOver) continue
    const { streams: taken } = outer
    const shared = streams.find((stream) => taken.has(stream))
    if (shared === undefined) continue
    throw new InvalidArgumentError('command', {
      message:
        `the handle of ${nameOf(outer.command)} executes ${nameOf(command)} on its own stream ${quote(shared)}: they would ` +
        'wait for each other for ever; return the events from handle, or execute the second command after the first',
    })
  }
}

function nameOf({ name, constructor }: AnyCommand): string {
  if (name !== undefined) return `command ${quote(name)}`
  return constructor.name === 'Object' || constructor.name === ''
    ? 'a command without a name'
    : `command ${quote(constructor.name)}`
}

function useStorage(): void {
  const { AsyncLocalStorage } = asyncHooks()
  if (AsyncLocalStorage) storage ??= new AsyncLocalStorage<RunningHandle>()
}

let current: RunningHandle | undefined
let storage: AsyncStorage<RunningHandle> | undefined
