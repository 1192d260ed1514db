import { AsyncLocalStorage } from 'node:async_hooks'
import type { Boundary, Command } from '../model/command.ts'
import type { CallRecord } from './check.ts'

/** Checks that commands decide in the asynchronous contexts of their callers. */
export class Contexts {
  readonly #storage: AsyncLocalStorage<CallRecord> | undefined
  readonly #found: (problem: string) => void

  constructor(isChecked: boolean, found: (problem: string) => void) {
    this.#storage = isChecked ? new AsyncLocalStorage() : undefined
    this.#found = found
  }

  /** Makes a call with its command, in a context of its own. */
  run<T>(call: CallRecord, execute: (command: Command<Boundary, unknown>) => Promise<T>): Promise<T> {
    const storage = this.#storage
    if (!storage) return execute(call.command)
    const { command, number } = call
    const watched = new Proxy(command, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...values: unknown[]): unknown => {
          const found = storage.getStore()
          if (found !== call) {
            const whose = found ? `of command ${String(found.number)}` : 'of none'
            this.#found(
              `command ${String(number)} ran '${String(name)}' in the asynchronous context ${whose}`,
            )
          }
          return Reflect.apply(value, target, values)
        }
      },
    })
    return storage.run(call, () => execute(watched))
  }

  close(): void {
    this.#storage?.disable()
  }
}
