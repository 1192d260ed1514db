import type { ReadReq } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import type { EventRecord } from './log.ts'
import { exception } from './rpc-errors.ts'

export type Filter = (event: EventRecord) => boolean

/** What a read of all streams shows where it asks for no filter: nothing of the cluster's own affairs. */
export const unfiltered: Filter = ({ stream }) => stream !== '$epoch-information'

/** Neither a regex nor a prefix: nothing. A regex outdoes prefixes. */
export function filterOf(options: ReadReq.Options.FilterOptions): Filter {
  const byStream = options.getStreamIdentifier()
  const expression = byStream ?? options.getEventType()
  const subjectOf = (event: EventRecord) => (byStream ? event.stream : event.type)
  const source = expression?.getRegex() ?? ''
  if (source !== '') {
    const regex = regexOf(source)
    return (event) => unfiltered(event) && regex.test(subjectOf(event))
  }
  const prefixes = expression?.getPrefixList().map(asCompared) ?? []
  return (event) => {
    const subject = asCompared(subjectOf(event))
    return unfiltered(event) && prefixes.some((prefix) => subject.startsWith(prefix))
  }
}

/** The server compares prefixes, not regexes, as a reader would: what is not seen does not count, however composed. */
function asCompared(text: string): string {
  return text.normalize('NFC').replace(ignored, '')
}

// eslint-disable-next-line no-control-regex -- these too are not seen
const ignored = /[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\p{Default_Ignorable_Code_Point}]/gu

/** Of JavaScript's, where the server has .NET's. */
function regexOf(source: string): RegExp {
  try {
    return new RegExp(source.replace(/\\([^])/g, (escaped, what) => ANCHORS[what as string] ?? escaped))
  } catch {
    throw exception(`Invalid pattern '${source}'`)
  }
}

/** What .NET calls the beginning and the end of a text. */
const ANCHORS: Readonly<Record<string, string>> = { A: '^', z: '$' }
