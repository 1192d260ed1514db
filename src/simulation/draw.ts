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
    const hex = Array.from({ length: 4 }, () => this.#next().toString(16).padStart(8, '0')).join('')
    const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16)
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      `${variant}${hex.slice(17, 20)}`,
      hex.slice(20),
    ].join('-')
  }
}
