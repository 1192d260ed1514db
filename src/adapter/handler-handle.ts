import { isThenable } from '../base/functions.ts'
import { HandlerMisuse } from './projection-target.ts'

/**
 * A driver's object as handlers are given it, which can be used only while it is open: what a handler does after it has
 * returned would otherwise be committed without the checkpoint, or in another transaction. What its methods return,
 * statements say, can be used only then, too. Rows, buffers and promises are given as they are.
 */
export class HandlerHandle<T extends object> {
  readonly handle: T
  readonly #object: T
  readonly #refuse: (error: Error) => unknown
  /** Iterators that the handler was given. better-sqlite3 can neither commit nor roll back while one is not at its end. */
  readonly #iterators: Iterator<unknown>[] = []
  #isOpen = false

  /** @param refuse throws the error, or returns a promise that is rejected with it, as the driver reports its own errors. */
  constructor(object: T, refuse: (error: Error) => unknown) {
    this.#object = object
    this.#refuse = refuse
    this.handle = new Proxy<object>(object, this.#traps) as T
  }

  open(): void {
    this.#isOpen = true
  }

  close(): void {
    this.#isOpen = false
    this.endIterators()
  }

  /** Ends what a handler has read only in part. */
  endIterators(): void {
    for (const iterator of this.#iterators.splice(0)) iterator.return?.()
  }

  /** The same for all objects: a handler may make a statement for each event. */
  readonly #traps: ProxyHandler<object> = {
    get: (target, key, proxy: object) => {
      // Got and called on the driver's own object: it has parts that a proxy cannot reach.
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value === 'function' && key !== 'constructor') {
        return this.#guarded(value as Method, target, proxy)
      }
      return value === this.#object ? this.handle : value
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  }

  #guarded(method: Method, self?: object, proxy?: object): Method {
    return (...values) => {
      if (!this.#isOpen) return this.#refuse(usedTooLate())
      const result = method.apply(self, values)
      if (result === self) return proxy
      if (typeof result === 'function') return this.#made(result as Method)
      if (!isOfDriver(result)) return result
      if (isIterator(result)) this.#iterators.push(result)
      return result === this.#object ? this.handle : new Proxy(result, this.#traps)
    }
  }

  /** A function that a method made, like that of `transaction()` in better-sqlite3, with the variants it has as properties. */
  #made(made: Method): Method {
    const wrapped = this.#guarded(made)
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(made))) {
      if (typeof value !== 'function') continue
      const variant = value === made ? wrapped : this.#guarded(value as Method)
      Object.defineProperty(wrapped, name, { value: variant })
    }
    return wrapped
  }
}

type Method = (...values: unknown[]) => unknown

/** Whether it is an instance of a class, by which the driver could be reached, rather than data or a promise. */
function isOfDriver(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return false
  return !ArrayBuffer.isView(value) && !isThenable(value)
}

function isIterator(value: object): value is Iterator<unknown> {
  return typeof (value as Partial<Iterator<unknown>>).next === 'function'
}

function usedTooLate(): HandlerMisuse {
  return new HandlerMisuse({
    message:
      'a handler of a projection used its connection after it had returned, which was refused: await all work in the ' +
      'handler (on SQLite, handlers are synchronous)',
  })
}
