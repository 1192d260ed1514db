import type { sendUnaryData, ServerReadableStream, ServerUnaryCall } from '@grpc/grpc-js'
import type {
  AppendRecordsRequest,
  AppendRecordsResponse,
  AppendRequest,
  AppendSessionResponse,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v2/streams/streams_pb.js'

import { expected } from './consistency.ts'
import { streamsV2 } from './generated.ts'
import { ignoringCase } from './ignoring-case.ts'
import type { Node } from './node.ts'
import { assertStream } from './proposed-events.ts'
import { RecordSizes, proposedRecord } from './records.ts'
import { assertRecordsRequest, assertSessionRequest } from './request-validation.ts'
import { asRpcError, type RpcError } from './rpc-errors.ts'
import * as errors from './v2-errors.ts'
import { isStreamDeleted, type Failure, type ProposedEvent, type WriteResult } from './writer.ts'

interface StreamState {
  readonly name: string
  readonly expected: bigint
  /** What an error says was expected, where that is not it. */
  readonly said?: bigint
}

/** AppendRecords: records to streams, in their order, under checks of these streams or of others. */
export function appendRecords(node: Node) {
  return (
    call: ServerUnaryCall<AppendRecordsRequest, AppendRecordsResponse>,
    answer: sendUnaryData<AppendRecordsResponse>,
  ): void => {
    const respond = async () => {
      assertRecordsRequest(call.request)
      const states = call.request.getChecksList().map((check): StreamState => {
        const state = check.getStreamState()!
        return { name: state.getStream(), expected: BigInt(state.getExpectedState()) }
      })
      const indexes = new Map<string, number>()
      for (const [i, { name }] of states.entries()) indexes.set(ignoringCase(name), i)
      const sizes = new RecordSizes(node)
      const events = call.request.getRecordsList().map((record): ProposedEvent => {
        // Streams whose names differ only in case are taken for one, whose name is that which came first.
        const key = ignoringCase(record.getStream())
        const streamIndex =
          indexes.get(key) ?? states.push({ name: record.getStream(), expected: expected.any }) - 1
        indexes.set(key, streamIndex)
        return { ...proposedRecord(record, record.getStream(), sizes), streamIndex }
      })
      const result = await write(node, call, states, events)
      if (!result) return
      if (result.kind === 'failed') throw errors.consistencyViolation(states, result.failures)
      const response = new streamsV2.AppendRecordsResponse().setPosition(String(result.position))
      for (const i of new Set(events.map(({ streamIndex }) => streamIndex))) {
        const revision = new streamsV2.StreamRevision()
          .setStream(states[i]!.name)
          .setRevision(String(result.last[i]))
        response.addRevisions(revision)
      }
      answer(null, response)
    }
    void respond().catch((error: unknown) => answer(asRpcError(error)))
  }
}

/** AppendSession: a stream a message; answered when the client has ended. */
export function appendSession(node: Node) {
  return (
    call: ServerReadableStream<AppendRequest, AppendSessionResponse>,
    answer: sendUnaryData<AppendSessionResponse>,
  ): void => {
    const states: StreamState[] = []
    const names = new Set<string>()
    const events: ProposedEvent[] = []
    const sizes = new RecordSizes(node)
    let problem: RpcError | undefined
    const take = (request: AppendRequest) => {
      assertSessionRequest(request)
      const stream = request.getStream()
      if (names.has(ignoringCase(stream))) throw errors.alreadyInSession(stream)
      names.add(ignoringCase(stream))
      const isAny = !request.hasExpectedRevision()
      const revision = BigInt(request.getExpectedRevision()!)
      states.push({ name: stream, expected: isAny ? expected.any : revision, said: revision })
      const streamIndex = states.length - 1
      for (const record of request.getRecordsList()) {
        events.push({ ...proposedRecord(record, stream, sizes), streamIndex })
      }
    }
    call.on('data', (request: AppendRequest) => {
      if (problem) return
      try {
        take(request)
      } catch (error) {
        problem = asRpcError(error)
        answer(problem)
      }
    })
    const respond = async () => {
      if (states.length === 0) throw errors.noRequests()
      const result = await write(node, call, states, events)
      if (!result) return
      if (result.kind === 'failed') throw sessionFailure(states, result.failures)
      const response = new streamsV2.AppendSessionResponse().setPosition(String(result.position))
      for (const [i, { name }] of states.entries()) {
        response.addOutput(
          new streamsV2.AppendResponse().setStream(name).setStreamRevision(String(result.last[i])),
        )
      }
      answer(null, response)
    }
    call.on('end', () => {
      if (!problem) void respond().catch((error: unknown) => answer(asRpcError(error)))
    })
  }
}

/** `undefined`: there is to be no answer. */
async function write(
  node: Node,
  call: { readonly cancelled: boolean },
  streams: readonly StreamState[],
  events: readonly ProposedEvent[],
): Promise<WriteResult | undefined> {
  for (const { name } of streams) assertStream(name)
  // A tombstone has a number of its own in a request, and its revision in the server.
  const asked = streams.map(({ name, expected: revision }) => ({
    name,
    expected: revision === errors.tombstoned ? expected.tombstoned : revision,
  }))
  const handled = await node.faults.write(
    () => node.writer.write({ streams: asked, events }),
    () => call.cancelled,
  )
  if (handled.kind === 'refused') throw errors.refused(handled.refusal)
  if (handled.kind === 'timeout') throw errors.timeout()
  return handled.kind === 'done' ? handled.result : undefined
}

function sessionFailure(states: readonly StreamState[], failures: readonly Failure[]): RpcError {
  const [failure] = failures
  const { name, said = 0n } = states[failure!.streamIndex]!
  if (isStreamDeleted(failures)) return errors.streamTombstoned(name)
  return errors.revisionConflict(name, said, failure!.current)
}
