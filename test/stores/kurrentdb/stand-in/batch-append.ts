import type { ServerDuplexStream } from '@grpc/grpc-js'
import type {
  BatchAppendReq,
  BatchAppendResp,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import * as errors from './batch-errors.ts'
import { idOf } from './event-id.ts'
import { empty, shared, streams } from './generated.ts'
import { isTooLarge } from './message-limit.ts'
import type { Node } from './node.ts'
import { EventTooLargeError, expectationOf, assertStream, nameOf, proposedEvent } from './proposed-events.ts'
import { asRpcError, refused, tooLargeMessage, type RpcError } from './rpc-errors.ts'
import { isStreamDeleted, type ProposedEvent, type WriteResult } from './writer.ts'

type Call = ServerDuplexStream<BatchAppendReq, BatchAppendResp>

/** An append that is coming, message by message. */
interface Pending {
  readonly stream: string
  readonly expected: bigint
  readonly events: ProposedEvent[]
  readonly timer: NodeJS.Timeout
  size: number
}

/** BatchAppend: many appends over one call, each with a correlation id that its answer bears. */
export function batchAppend(node: Node) {
  return (call: Call): void => {
    const pending = new Map<string, Pending>()
    call.on('data', (request: BatchAppendReq) => {
      if (isTooLarge(request)) return void call.emit('error', tooLargeMessage())
      const id = idOf(request.getCorrelationId()) ?? ''
      try {
        receive(node, call, pending, id, request)
      } catch (error) {
        answer(
          call,
          request,
          nameOf(request.getOptions()?.getStreamIdentifier()),
          errors.badRequest(reasonOf(asRpcError(error))),
        )
      }
    })
    // The server never ends the call by itself: it waits for an answer to give, even when the client has ended.
    const forget = () => {
      for (const { timer } of pending.values()) clearTimeout(timer)
      pending.clear()
    }
    call.on('close', forget)
    call.on('cancelled', forget)
    call.on('error', forget)
  }
}

function receive(
  node: Node,
  call: Call,
  pending: Map<string, Pending>,
  id: string,
  request: BatchAppendReq,
): void {
  const options = request.getOptions()
  if (options) {
    const stream = nameOf(options.getStreamIdentifier())
    const timeout = Math.min(timeoutOf(options), node.writeTimeout)
    if (timeout <= 0) return answer(call, request, stream, errors.timeout())
    const expired = () => {
      if (pending.delete(id)) answer(call, request, stream, errors.timeout())
    }
    if (!pending.has(id)) {
      const revision = options.hasStreamPosition() ? options.getStreamPosition() : undefined
      const expected = expectationOf(options, revision)
      pending.set(id, { stream, expected, events: [], size: 0, timer: setTimeout(expired, timeout).unref() })
    }
  }
  const append = pending.get(id)
  if (!append) return

  const drop = () => {
    pending.delete(id)
    clearTimeout(append.timer)
  }
  try {
    for (const message of request.getProposedMessagesList()) {
      const { event, size } = proposedEvent(message, node)
      append.events.push(event)
      append.size += size
    }
  } catch (error) {
    if (!(error instanceof EventTooLargeError)) throw error
    drop()
    return answer(call, request, append.stream, errors.eventTooLarge(error))
  }
  if (append.size > node.maxAppendSize) {
    drop()
    return answer(call, request, append.stream, errors.appendTooLarge(node.maxAppendSize))
  }
  if (!request.getIsFinal()) return
  drop()
  assertStream(append.stream)
  void commit(node, call, request, append)
}

async function commit(node: Node, call: Call, request: BatchAppendReq, append: Pending): Promise<void> {
  const { stream, expected, events } = append
  const write = () => node.writer.write({ streams: [{ name: stream, expected }], events })
  const handled = await node.faults.write(write, () => call.cancelled)
  if (handled.kind === 'done') answer(call, request, stream, outcomeOf(handled.result, stream))
  else if (handled.kind === 'timeout') answer(call, request, stream, errors.timeout())
  else if (handled.kind === 'refused') {
    const error = errors.refused(handled.refusal)
    // With a leader to go to, the whole call ends.
    if (error) answer(call, request, stream, error)
    else call.emit('error', refused(handled.refusal))
  }
}

function outcomeOf(result: WriteResult, stream: string): errors.BatchError | BatchAppendResp.Success {
  if (result.kind === 'written') return appended(result.last[0]!, result.position)
  return isStreamDeleted(result.failures)
    ? errors.streamDeleted(stream)
    : errors.wrongExpectedVersion(result.failures[0]!)
}

function answer(
  call: Call,
  request: BatchAppendReq,
  stream: string,
  outcome: errors.BatchError | BatchAppendResp.Success,
): void {
  if (call.cancelled || call.destroyed) return
  const response = new streams.BatchAppendResp().setCorrelationId(request.getCorrelationId())
  response.setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(stream)))
  if (outcome instanceof streams.BatchAppendResp.Success) response.setSuccess(outcome)
  else response.setError(outcome)
  call.write(response)
}

function appended(last: bigint, position: bigint): BatchAppendResp.Success {
  const success = new streams.BatchAppendResp.Success()
  if (last < 0n) success.setNoStream(new empty.Empty())
  else success.setCurrentRevision(String(last))
  if (position < 0n) return success.setNoPosition(new empty.Empty())
  const at = new shared.AllStreamPosition()
  return success.setPosition(at.setCommitPosition(String(position)).setPreparePosition(String(position)))
}

function reasonOf({ reason, details = '' }: RpcError): string {
  return reason ?? details
}

/** In milliseconds from now: how long, or until when. */
function timeoutOf(options: BatchAppendReq.Options): number {
  const duration = options.getDeadline()
  if (duration) return duration.getSeconds() * 1000 + duration.getNanos() / 1e6
  const until = options.getDeadline21100()
  return until ? until.toDate().getTime() - Date.now() : Infinity
}
