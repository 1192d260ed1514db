import { appending } from './appending.ts'
import { wrongArguments } from './arguments.ts'
import { claims } from './claims.ts'
import { closing } from './closing.ts'
import { deciding } from './deciding.ts'
import { decidingTogether } from './deciding-together.ts'
import { erasing } from './erasing.ts'
import { executingKeys } from './executing-keys.ts'
import { expectations } from './expectations.ts'
import { handling } from './handling.ts'
import { importing } from './importing.ts'
import { interrupted } from './interrupted.ts'
import { isolation } from './isolation.ts'
import { keys } from './keys.ts'
import { limits } from './limits.ts'
import { listing } from './listing.ts'
import { loading } from './loading.ts'
import { metadata } from './metadata.ts'
import { names } from './names.ts'
import { overload } from './overload.ts'
import { personal } from './personal.ts'
import { plainData } from './plain-data.ts'
import { preconditions } from './preconditions.ts'
import type { Group } from './prove.ts'
import { reading } from './reading.ts'
import { readingAll } from './reading-all.ts'
import { repeating } from './repeating.ts'
import { severalStreams } from './several-streams.ts'
import { snapshots } from './snapshots.ts'
import { standing } from './standing.ts'
import { stopping } from './stopping.ts'
import { subscribing } from './subscribing.ts'

/** Every group of cases, by its title. */
export const groups: Readonly<Record<string, Group>> = {
  appending,
  'expected revisions': expectations,
  'several streams': severalStreams,
  'repeated appends': repeating,
  'interrupted appends': interrupted,
  'idempotency keys': keys,
  'plain data': plainData,
  'personal data': personal,
  metadata,
  isolation,
  limits,
  names,
  'reading a stream': reading,
  'reading all streams': readingAll,
  'where a store stands': standing,
  'listing streams': listing,
  'loading states': loading,
  'truncating and deleting streams': erasing,
  'importing and archiving': importing,
  snapshots,
  'stopping a reader': stopping,
  subscribing,
  overload,
  closing,
  'deciding on current state': deciding,
  'deciding together': decidingTogether,
  'what a caller expects': preconditions,
  claims,
  'commands under a key': executingKeys,
  'handling a command': handling,
  'wrong arguments': wrongArguments,
}
