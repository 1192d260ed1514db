import { systemClock, type Clock } from '../../src/base/clock.ts'
import { DefinedProjection, definedProjection, type Projection } from '../../src/projections/projection.ts'

/** The same projection, with workers that go by another clock. */
export function onClock(clock: Clock, projection: Projection): Projection {
  return new DefinedProjection({ ...definedProjection(projection)!.definition, clock })
}

const SPEED = 20

/** A clock that goes 20 times as fast: for tests that wait for our own timers, and prove nothing about them. */
export const fastClock: Clock = {
  now: () => systemClock.now() * SPEED,
  after: (milliseconds, callback) => systemClock.after(milliseconds / SPEED, callback),
}
