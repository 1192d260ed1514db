import type { handleUnaryCall } from '@grpc/grpc-js'
import type { Empty } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js'
import type { ClusterInfo } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js'
import type { SupportedMethods } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_pb.js'

import { structuredId } from './event-id.ts'
import { features, gossip, shared } from './generated.ts'
import { now } from './log.ts'

/** Gossip: a cluster of one, its leader. */
export function gossipOf(port: () => number): handleUnaryCall<Empty, ClusterInfo> {
  const id = crypto.randomUUID()
  return (_, answer) => {
    const member = new gossip.MemberInfo()
      .setInstanceId(new shared.UUID().setStructured(structuredId(new shared.UUID.Structured(), id)))
      .setTimeStamp(String(now()))
      .setState(gossip.MemberInfo.VNodeState.LEADER)
      .setIsAlive(true)
      .setHttpEndPoint(new gossip.EndPoint().setAddress('127.0.0.1').setPort(port()))
    answer(null, new gossip.ClusterInfo().setMembersList([member]))
  }
}

const v1 = 'event_store.client.streams.streams'
const v2 = 'kurrentdb.protocol.v2.streams.streamsservice'

/** What the services of a version can do; others have come and gone, and no test asks for them. */
const methods: readonly (readonly [
  since: string,
  service: string,
  method: string,
  features: readonly string[],
])[] = [
  ['25.1', v2, 'appendsession', []],
  ['26.1', v2, 'appendrecords', []],
  ['0', v1, 'read', ['position', 'events']],
  ['0', v1, 'append', []],
  ['0', v1, 'delete', []],
  ['0', v1, 'tombstone', []],
  ['21.10', v1, 'batchappend', ['deadline_duration']],
  ['0', 'event_store.client.gossip.gossip', 'read', []],
  ['21.10', 'event_store.client.server_features.serverfeatures', 'getsupportedmethods', []],
]

/** Whether a version has a method, by its service's and its own name in small letters. */
export function hasMethod(version: string, service: string, method: string): boolean {
  return methods.some(
    ([since, itsService, itsMethod]) =>
      itsService === service && itsMethod === method && isAtLeast(version, since),
  )
}

/** ServerFeatures: which methods there are, and what they can do. */
export function featuresOf(version: string): handleUnaryCall<Empty, SupportedMethods> {
  const list = methods
    .filter(([since]) => isAtLeast(version, since))
    .map(([, service, method, itsFeatures]) =>
      new features.SupportedMethod()
        .setServiceName(service)
        .setMethodName(method)
        .setFeaturesList([...itsFeatures]),
    )
  const supported = new features.SupportedMethods().setEventStoreServerVersion(version).setMethodsList(list)
  return (_, answer) => answer(null, supported)
}

function isAtLeast(version: string, least: string): boolean {
  const [numbers, leastNumbers] = [version, least].map((text) => text.split('.').map(Number))
  for (const [i, number] of leastNumbers!.entries()) {
    const its = numbers![i] ?? 0
    if (its !== number) return its > number
  }
  return true
}
