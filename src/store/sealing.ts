import { type CheckedEvent, isEncoded, type PersonalEvent } from './encode.ts'
import type { KeyRing, ToSeal } from './key-ring.ts'
import { InvalidDataError, SubjectErasedError, UnsupportedError } from '../base/errors.ts'
import { isSealedFor, mapPersonal, type MapPersonal, subjectIn } from '../model/personal.ts'
import { isSealedText, isUnsealed, newValueOf } from '../model/sealed.ts'

/** Whether an event has personal values that are still to be sealed for it. */
export function isToSeal(checked: CheckedEvent): boolean {
  if (isEncoded(checked)) return false
  const { event, id, personal } = checked
  let found = false
  mapPersonal(event.data as object, personal, (value, path) => {
    found ||= !isInPlace(value, id, path)
    return value
  })
  return found
}

/**
 * Seals the personal values of events. A value that was sealed for another event or field is opened, and sealed anew.
 *
 * @throws SubjectErasedError, KeyStoreError, SealBrokenError; InvalidDataError if a value belongs to another subject;
 *   UnsupportedError if the store has no key ring.
 */
export async function sealEvents(
  ring: KeyRing | undefined,
  events: readonly CheckedEvent[],
): Promise<CheckedEvent[]> {
  const personal = events.filter((event): event is PersonalEvent => !isEncoded(event))
  if (!ring) throw new UnsupportedError(withoutRing(personal))
  const sealed = await sealPersonal(ring, personal)
  let next = 0
  return events.map((event) => (isEncoded(event) ? event : sealed[next++]!))
}

async function sealPersonal(ring: KeyRing, events: readonly PersonalEvent[]): Promise<PersonalEvent[]> {
  const plain = await openPassedOn(ring, events)
  const values: ToSeal[] = []
  const plainEvents = events.map((given) =>
    mapped(given, (value, path, field, holder) => {
      const { id, event } = given
      if (isInPlace(value, id, path)) return value
      const made = newValueOf(value)
      const subject = made?.subject ?? subjectIn(field, event.data as object, holder, path)
      const content = made
        ? made.value
        : isSealedText(value)
          ? plain.get(value.$sealed)
          : isUnsealed(value)
            ? value.$unsealed
            : value
      values.push({ text: JSON.stringify(content), subject, id, path })
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

/**
 * What was sealed for other events or fields. Only for the same subject: under the key of another one it would outlive the
 * erasure of its own, and an input that holds the sealed value of a stranger would show it to whoever sent it.
 *
 * @throws InvalidDataError, SubjectErasedError
 */
async function openPassedOn(
  ring: KeyRing,
  events: readonly PersonalEvent[],
): Promise<ReadonlyMap<string, unknown>> {
  const texts = new Set<string>()
  for (const { event, id, personal } of events) {
    mapPersonal(event.data as object, personal, (value, path, field, holder) => {
      if (!isSealedText(value) || newValueOf(value) || isInPlace(value, id, path)) return value
      const own = ring.hashOf(subjectIn(field, event.data as object, holder, path))
      if (ring.subjectOf(value.$sealed) !== own) {
        throw new InvalidDataError(event.type, [{ path: `data.${path}`, message: OF_ANOTHER }])
      }
      texts.add(value.$sealed)
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

const OF_ANOTHER =
  'holds a sealed value of another subject, which would outlive the erasure of its own; give the plain value, if it belongs to this subject, too'

/** Whether a value is sealed for this very place. */
function isInPlace(value: unknown, id: string, path: string): boolean {
  return isSealedText(value) && newValueOf(value) === undefined && isSealedFor(value.$sealed, id, path)
}

function mapped(given: PersonalEvent, map: MapPersonal): PersonalEvent {
  const data = Object.freeze(mapPersonal(given.event.data as object, given.personal, map))
  return { ...given, event: Object.freeze({ ...given.event, data }) }
}

function withoutRing([first]: readonly PersonalEvent[]): string {
  const { type } = first!.event
  return `${type} has personal data, but this store has no keys to seal it with: open the store with { personal: keyRing(...) } of mneme/erasure`
}
