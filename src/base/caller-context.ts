import { builtinModule } from './builtin-module.ts'

/** Runs functions in the asynchronous context of the code that made it: what its `AsyncLocalStorage`s hold. */
export interface CallerContext {
  runInAsyncScope<R>(call: () => R): R
}

/**
 * The asynchronous context of the caller. User functions that run later, in a queue or in another caller's turn, must run
 * in it: otherwise one request would see the current user of another.
 */
export function callerContext(): CallerContext {
  const { AsyncResource } = asyncHooks()
  return AsyncResource ? new AsyncResource('mneme', RESOURCE) : NO_CONTEXT
}

/** A function that runs in the context of the code that called this. */
export function inCallerContext<Args extends unknown[], R>(call: (...args: Args) => R): (...args: Args) => R {
  const context = callerContext()
  return (...args) => context.runInAsyncScope(() => call(...args))
}

/** The part of `node:async_hooks` that Mneme uses; empty in runtimes without it. */
export function asyncHooks(): Partial<AsyncHooks> {
  return (loaded ??= builtinModule<AsyncHooks>('node:async_hooks') ?? {})
}

interface AsyncHooks {
  readonly AsyncResource: new (type: string, options: object) => CallerContext
  readonly AsyncLocalStorage: new <T>() => AsyncStorage<T>
}

/** The part of `AsyncLocalStorage` that Mneme uses. */
export interface AsyncStorage<T> {
  run<R>(value: T, call: () => R): R
  getStore(): T | undefined
}

let loaded: Partial<AsyncHooks> | undefined

/** Otherwise Node would watch the garbage collection of each resource for hooks that some tool may have set. */
const RESOURCE = { requireManualDestroy: true }

const NO_CONTEXT: CallerContext = { runInAsyncScope: (call) => call() }
