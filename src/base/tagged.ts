/**
 * The constructor returns its argument, so that a subclass adds its private field to that object. No other code can see,
 * copy or forge the field, and it costs less than an entry in a WeakMap, which slows down every garbage collection.
 */
// eslint-disable-next-line @typescript-eslint/no-extraneous-class -- a constructor is all that is needed
export class Tagged {
  constructor(object: object) {
    return object
  }
}
