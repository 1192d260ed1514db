/**
 * Maps a type to itself where JSON can carry it, and to a sentence where it cannot: the sentence is what
 * the compiler then prints.
 */
export type Json<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends bigint
    ? 'a bigint is not JSON: store a string'
    : T extends Date
      ? 'a Date is not JSON: store an ISO string'
      : T extends symbol
        ? 'a symbol is not JSON'
        : T extends (...args: never) => unknown
          ? 'a function is not JSON'
          : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
            ? 'a Map or Set is not JSON: store an array or an object'
            : { [K in keyof T]: Json<T[K]> }

/** The same for an object, as a constraint. */
export type JsonObject<T> = { [K in keyof T]: Json<T[K]> }
