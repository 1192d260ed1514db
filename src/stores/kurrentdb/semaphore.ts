/** A counting semaphore: callers that find too few permits wait in order. */
export class Semaphore {
  readonly #waiting: { readonly permits: number; readonly enter: () => void }[] = []
  #free: number

  constructor(permits: number) {
    this.#free = permits
  }

  /** Runs a call while it holds so many permits, of those that there are. */
  async run<T>(permits: number, call: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || this.#free < permits) {
      await new Promise<void>((enter) => {
        this.#waiting.push({ permits, enter })
      })
    } else this.#free -= permits
    try {
      return await call()
    } finally {
      this.#free += permits
      this.#admit()
    }
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && next.permits <= this.#free; next = this.#waiting[0]) {
      this.#free -= next.permits
      this.#waiting.shift()
      next.enter()
    }
  }
}
