import { checkBoundary, listStreams } from './boundary-shape.ts'
import type { Boundary, Streams } from '../model/boundary.ts'
import type { Command } from '../model/command.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { FoldedState } from './fold.ts'
import { StateSet } from './state-set.ts'
import { isStream, type AnyStream } from '../model/stream.ts'

/** What a command stands on: its streams, those that it follows included, and their states. */
export interface Reading {
  readonly boundary: Boundary
  readonly states: StateSet
  /** What `follow` threw: a decision, too, that stands or falls with what was read. */
  readonly threw?: { readonly error: unknown }
}

/**
 * Reads the states of a command's streams: first those that it names, then those that it follows.
 *
 * @param load folds a stream; up to a revision where one is given, because another fold of it stands there.
 */
export async function readBoundary(
  command: Command<Boundary, unknown, unknown>,
  boundary: Boundary,
  load: (stream: AnyStream, known?: FoldedState) => Promise<FoldedState>,
): Promise<Reading> {
  const states = new StateSet()
  const read = async (streams: readonly AnyStream[]) => {
    const missing = new Map<string, AnyStream[]>()
    for (const stream of streams) {
      const same = missing.get(stream.stream) ?? []
      if (states.get(stream) || same.some(({ fold }) => fold === stream.fold)) continue
      missing.set(stream.stream, [...same, stream])
    }
    await Promise.all(
      [...missing.values()].map(async (folds) => {
        for (const stream of folds) states.add(await load(stream, states.of(stream.stream)[0]))
      }),
    )
  }
  if (isStream(boundary)) {
    await read([boundary])
    return { boundary, states }
  }
  await read(listStreams(boundary))
  if (!command.follow) return { boundary, states }
  let followed: Streams
  try {
    followed = checkBoundary(command.follow(states.shape(boundary) as never)) as Streams
    for (const key of Object.keys(followed)) {
      if (Object.hasOwn(boundary, key))
        throw new InvalidArgumentError(`follow.${key}`, 'a name that reads does not use')
    }
    listStreams(followed)
  } catch (error) {
    return { boundary, states, threw: { error } }
  }
  await read(listStreams(followed))
  return { boundary: { ...boundary, ...followed }, states }
}
