import type { CheckedEvent } from './encode.ts'
import type { KeyRing, ToSeal } from './key-ring.ts'
import { SubjectErasedError, UnsupportedError } from '../base/errors.ts'
import { isSealedFor, mapPersonal, type MapPersonal, subjectIn } from '../model/personal.ts'
import { isSealedText, isUnsealed, newValueOf } from '../model/sealed.ts'

/** Whether an event has personal values that are still to be sealed for it. */
export function isToSeal({ event, id, personal }: CheckedEvent): boolean {
  let found = false
  mapPersonal(event.data as object, personal, (value, path) => {
    found ||= !isSealedText(value) || newValueOf(value) !== undefined || !isSealedFor(value.$sealed, id, path)
    return value
  })
  return found
}

/**
 * Seals the personal values of events. A value that was sealed for another event or field is opened, and sealed anew.
 *
 * @throws SubjectErasedError, KeyStoreError, SealBrokenError; UnsupportedError if the store has no key ring.
 */
export async function sealEvents(
  ring: KeyRing | undefined,
  events: readonly CheckedEvent[],
): Promise<CheckedEvent[]> {
  if (!ring) throw new UnsupportedError(withoutRing(events))
  const plain = await openPassedOn(ring, events)
  const values: ToSeal[] = []
  const plainEvents = events.map((given) =>
    mapped(given, (value, path, field, holder) => {
      const made = newValueOf(value)
      if (!made && isSealedText(value) && isSealedFor(value.$sealed, given.id, path)) return value
      const content = made
        ? made.value
        : isSealedText(value)
          ? plain.get(value.$sealed)
          : isUnsealed(value)
            ? value.$unsealed
            : value
      const subject = made?.subject ?? subjectIn(field, given.event.data as object, holder, path)
      values.push({ text: JSON.stringify(content), subject, id: given.id, path })
      return new Plain(content)
    }),
  )
  const texts = await ring.seal(values)
  let next = 0
  return plainEvents.map((given, i) => {
    const sealed = mapped(given, (value) =>
      value instanceof Plain ? Object.freeze({ $sealed: texts[next++]! }) : value,
    )
    const compared = mapped(given, (value) => (value instanceof Plain ? value.content : value)).event.data
    return { ...events[i]!, event: sealed.event, compared }
  })
}

/** In the place of a personal value while its event is being sealed. */
class Plain {
  readonly content: unknown

  constructor(content: unknown) {
    this.content = content
  }
}

/** What was sealed for other events or fields. */
async function openPassedOn(
  ring: KeyRing,
  events: readonly CheckedEvent[],
): Promise<ReadonlyMap<string, unknown>> {
  const texts = new Set<string>()
  for (const { event, id, personal } of events) {
    mapPersonal(event.data as object, personal, (value, path) => {
      if (isSealedText(value) && !newValueOf(value) && !isSealedFor(value.$sealed, id, path)) {
        texts.add(value.$sealed)
      }
      return value
    })
  }
  const plain = new Map<string, unknown>()
  if (texts.size === 0) return plain
  const list = [...texts]
  for (const [i, opened] of (await ring.open(list)).entries()) {
    if ('erasedAt' in opened) throw new SubjectErasedError(opened.subject, opened.erasedAt)
    plain.set(list[i]!, opened.value)
  }
  return plain
}

function mapped(given: CheckedEvent, map: MapPersonal): CheckedEvent {
  const data = Object.freeze(mapPersonal(given.event.data as object, given.personal, map))
  return { ...given, event: Object.freeze({ ...given.event, data }) }
}

function withoutRing(events: readonly CheckedEvent[]): string {
  const { type } = events.find(({ personal }) => personal.length > 0)!.event
  return `${type} has personal data, but this store has no keys to seal it with: open the store with { personal: keyRing(...) } of mneme/erasure`
}
