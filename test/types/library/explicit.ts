// What a library writes that is compiled with isolatedDeclarations: the types of what it exports.
import {
  defineAggregate,
  defineCommand,
  event,
  type Aggregate,
  type CommandType,
  type Event,
  type Rejection,
  type Stream,
} from 'mneme'

export interface ParkState {
  readonly visits: number
}
export interface ParkData {
  Opened: { name: string }
  Visited: { by: string }
}

export const Park: Aggregate<'Park', ParkState, ParkData> = defineAggregate({
  name: 'Park',
  events: { Opened: event<ParkData['Opened']>(), Visited: event<ParkData['Visited']>() },
  initial: (): ParkState => ({ visits: 0 }),
  apply: { Opened: (state) => state, Visited: (state) => ({ visits: state.visits + 1 }) },
})

export const stroll: CommandType<
  { park: string },
  Stream<ParkState, `Park.${string}`>,
  Event<'Park.Visited', { by: string }> | Rejection<'full'>
> = defineCommand({
  reads: (input: { park: string }) => Park(input.park),
  handle: () => Park.events.Visited({ by: 'x' }),
})
