import { aggregateFromClass, event, type StreamEvent } from 'mneme'

/** A state that changes in place, and holds what JSON cannot say. */
class TallyState {
  byName = new Map<string, bigint>()
  names = new Set<string>()
  last: Date | undefined

  apply({ data }: StreamEvent<string, { name: string; at: string }>): void {
    this.byName.set(data.name, (this.byName.get(data.name) ?? 0n) + 1n)
    this.names.add(data.name)
    this.last = new Date(data.at)
  }

  clone(): TallyState {
    const copy = new TallyState()
    copy.byName = new Map(this.byName)
    copy.names = new Set(this.names)
    copy.last = this.last
    return copy
  }
}

export const Tally = aggregateFromClass({
  name: 'Tally',
  events: { Counted: event<{ name: string; at: string }>() },
  state: TallyState,
})
