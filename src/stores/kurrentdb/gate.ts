/** Lets so many pass at once; the rest wait for their turn, in order. */
export class Gate {
  readonly #waiting: { readonly places: number; readonly enter: () => void }[] = []
  #free: number

  constructor(places: number) {
    this.#free = places
  }

  /** Runs a call on so many places; on all, where it would need more. */
  async run<T>(places: number, call: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || this.#free < places) {
      await new Promise<void>((enter) => {
        this.#waiting.push({ places, enter })
      })
    } else this.#free -= places
    try {
      return await call()
    } finally {
      this.#free += places
      this.#admit()
    }
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && next.places <= this.#free; next = this.#waiting[0]) {
      this.#free -= next.places
      this.#waiting.shift()
      next.enter()
    }
  }
}
