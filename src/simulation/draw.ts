/** Draws from a seed: the same seed gives the same draws on every runtime. (sfc32, Chris Doty-Humphrey, PractRand.) */
export class Draw {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = seed | 0
    this.#b = Math.floor(seed / 2 ** 32) | 0
    this.#c = 0x9e3779b9
    for (let i = 0; i < 12; i++) this.#next()
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }

  /** A number from 0 to below 1. */
  readonly number = (): number => this.#next() / 2 ** 32

  /** A whole number between two, both included. */
  readonly integer = (least: number, greatest: number): number =>
    least + Math.floor(this.number() * (greatest - least + 1))

  /** One of a list. @throws RangeError if the list is empty. */
  readonly pick = <T>(list: readonly T[]): T => {
    if (list.length === 0) throw new RangeError('pick: the list is empty')
    return list[this.integer(0, list.length - 1)]!
  }

  /** Whether something of this probability happens. */
  readonly happens = (probability: number): boolean => probability > 0 && this.number() < probability

  readonly uuid = (): string => {
    const eight = () => this.#next().toString(16).padStart(8, '0')
    const [middle, end] = [eight(), eight()]
    return `${eight()}-${middle.slice(0, 4)}-4${middle.slice(5)}-a${end.slice(1, 4)}-${end.slice(4)}${eight()}`
  }
}
