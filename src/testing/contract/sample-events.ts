import type { Recorded } from '../../model/event.ts'
import type { EventToAppend } from '../../store/event-store.ts'

/** An event with a number by which it is recognised. */
export function happened(n: number): EventToAppend {
  return { type: 'Thing.Happened', data: { n } }
}

/** `count` events, numbered from `first`. */
export function happenings(count: number, first = 0): EventToAppend[] {
  return Array.from({ length: count }, (_, i) => happened(first + i))
}

/** The same events with ids of their own, so that their append can be repeated. */
export function identified(events: readonly EventToAppend[]): EventToAppend[] {
  return events.map((event) => ({ ...event, id: crypto.randomUUID() }))
}

/** The numbers of events that {@link happened} made. */
export function numbersOf(events: readonly Recorded[]): number[] {
  return events.map(({ data }) => (data as { n: number }).n)
}

/** 0, 1, 2 and so on. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

export function idsOf(events: readonly Recorded[]): string[] {
  return events.map(({ id }) => id)
}

export function revisionsOf(events: readonly Recorded[]): number[] {
  return events.map(({ revision }) => revision)
}

export function positionsOf(events: readonly Recorded[]): string[] {
  return events.map(({ position }) => position)
}
