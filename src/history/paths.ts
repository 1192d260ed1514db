import { checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'

/**
 * Objects whose keys are values, like `{ seats: { ada: 1 } }`: for each type of event, as it is recorded, their paths
 * (`'Cinema.Booked': ['seats']`). Their keys are never shown: a field in one is `seats.*`.
 */
export type Dictionaries = Readonly<Record<string, readonly string[]>>

/** @throws InvalidArgumentError */
export function checkDictionaries(given: Dictionaries | undefined): ReadonlyMap<string, ReadonlySet<string>> {
  const types = new Map<string, ReadonlySet<string>>()
  if (given === undefined) return types
  checkOptions(given, 'dictionaries', Object.keys(Object(given) as object))
  for (const [type, paths] of Object.entries(given)) {
    if (!Array.isArray(paths) || !(paths as readonly unknown[]).every((path) => typeof path === 'string')) {
      throw new InvalidArgumentError(`dictionaries['${type}']`, "a list of paths, like ['seats']")
    }
    types.set(type, new Set(paths))
  }
  return types
}

/** The path of a field under another. */
export function pathTo(parent: string, key: string): string {
  return parent === '' ? key : `${parent}.${key}`
}

/**
 * Whether a key is the name of a field. Other keys are values, like a date, a UUID or an address, and are not shown: they
 * are `*`.
 */
export function isFieldName(key: string): boolean {
  return key.length <= MAX_NAME_LENGTH && FIELD_NAME.test(key)
}

const FIELD_NAME = /^[\p{L}_$][\p{L}\p{N}_$]*$/u
const MAX_NAME_LENGTH = 64

/** An object with more different keys than these is a dictionary. */
export const MAX_KEYS = 50
/** What lies deeper is not told apart. */
export const MAX_DEPTH = 16
