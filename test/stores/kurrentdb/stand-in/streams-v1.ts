import type { sendUnaryData, ServerReadableStream, ServerUnaryCall } from '@grpc/grpc-js'
import type {
  AppendReq,
  AppendResp,
  DeleteReq,
  DeleteResp,
  TombstoneReq,
  TombstoneResp,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import { expected } from './consistency.ts'
import { isTooLarge } from './message-limit.ts'
import { shared, streams } from './generated.ts'
import type { Node } from './node.ts'
import { EventTooLargeError, expectationOf, assertStream, nameOf, proposedEvent } from './proposed-events.ts'
import {
  appendTooLarge,
  asRpcError,
  eventTooLarge,
  exception,
  refused,
  streamDeleted,
  timedOut,
  tooLargeMessage,
  wrongExpectedVersion,
  type RpcError,
} from './rpc-errors.ts'
import { isStreamDeleted, type Failure, type ProposedEvent, type WriteResult } from './writer.ts'

/** Append: options, then an event a message; answered when the client has ended. */
export function append(node: Node) {
  return (call: ServerReadableStream<AppendReq, AppendResp>, answer: sendUnaryData<AppendResp>): void => {
    const events: ProposedEvent[] = []
    let options: AppendReq.Options | undefined
    let size = 0
    let isOver = false
    const fail = (error: RpcError) => {
      isOver = true
      answer(error)
    }
    call.on('data', (message: AppendReq) => {
      if (isOver) return
      try {
        if (isTooLarge(message)) throw tooLargeMessage()
        const proposed = message.getProposedMessage()
        if (!options) options = message.getOptions()
        else if (proposed) {
          const { event, size: more } = proposedEvent(proposed, node)
          size += more
          if (size > node.maxAppendSize) throw appendTooLarge(node.maxAppendSize)
          events.push(event)
        }
        if (!options) throw exception('Operation is not valid due to the current state of the object.')
      } catch (error) {
        fail(error instanceof EventTooLargeError ? eventTooLarge(error) : asRpcError(error))
      }
    })
    call.on('end', () => {
      if (isOver) return
      if (!options) return fail(exception('Operation is not valid due to the current state of the object.'))
      const stream = nameOf(options.getStreamIdentifier())
      const asked = options
      void handle(
        node,
        () => {
          const revision = expectationOf(asked, asked.hasRevision() ? asked.getRevision() : undefined)
          assertStream(stream)
          return node.writer.write({ streams: [{ name: stream, expected: revision }], events })
        },
        call,
        answer,
        (result) => {
          if (result.kind === 'written') return appended(result.last[0]!, result.position)
          if (isStreamDeleted(result.failures)) throw streamDeleted(stream)
          return conflicting(result.failures[0]!)
        },
      )
    })
  }
}

/** Delete: what metadata with `$tb` at its largest do. */
export function softDelete(node: Node) {
  return (call: ServerUnaryCall<DeleteReq, DeleteResp>, answer: sendUnaryData<DeleteResp>): void => {
    const options = call.request.getOptions()
    remove(node, options, call, answer, 'softDelete', (position) => {
      const at = new streams.DeleteResp.Position().setCommitPosition(position).setPreparePosition(position)
      return new streams.DeleteResp().setPosition(at)
    })
  }
}

/** Tombstone: for good. */
export function tombstone(node: Node) {
  return (call: ServerUnaryCall<TombstoneReq, TombstoneResp>, answer: sendUnaryData<TombstoneResp>): void => {
    const options = call.request.getOptions()
    remove(node, options, call, answer, 'tombstone', (position) => {
      const at = new streams.TombstoneResp.Position().setCommitPosition(position).setPreparePosition(position)
      return new streams.TombstoneResp().setPosition(at)
    })
  }
}

function remove<Response>(
  node: Node,
  options: DeleteReq.Options | TombstoneReq.Options | undefined,
  call: { readonly cancelled: boolean },
  answer: sendUnaryData<Response>,
  how: 'softDelete' | 'tombstone',
  respond: (position: string) => Response,
): void {
  const stream = nameOf(options?.getStreamIdentifier())
  let asked = expected.any as bigint
  void handle(
    node,
    () => {
      if (!options || stream === '') throw exception('Value cannot be null.')
      asked = expectationOf(options, options.hasRevision() ? options.getRevision() : undefined)
      return node.writer[how](stream, asked)
    },
    call,
    answer,
    (result) => {
      if (result.kind === 'written') return respond(String(result.position))
      if (isStreamDeleted(result.failures)) throw streamDeleted(stream)
      throw wrongExpectedVersion(stream, asked, result.failures[0]!.current)
    },
  )
}

async function handle<Response>(
  node: Node,
  commit: () => WriteResult,
  call: { readonly cancelled: boolean },
  answer: sendUnaryData<Response>,
  respond: (result: WriteResult) => Response,
): Promise<void> {
  try {
    const handled = await node.faults.write(commit, () => call.cancelled)
    if (handled.kind === 'done') answer(null, respond(handled.result))
    else if (handled.kind === 'refused') answer(refused(handled.refusal))
    else if (handled.kind === 'timeout') answer(timedOut())
  } catch (error) {
    answer(asRpcError(error))
  }
}

function appended(last: bigint, position: bigint): AppendResp {
  const success = new streams.AppendResp.Success()
  if (last < 0n) success.setNoStream(new shared.Empty())
  else success.setCurrentRevision(String(last))
  if (position < 0n) success.setNoPosition(new shared.Empty())
  else {
    const at = new streams.AppendResp.Position()
    success.setPosition(at.setCommitPosition(String(position)).setPreparePosition(String(position)))
  }
  return new streams.AppendResp().setSuccess(success)
}

/** The answer is a success of the call. The fields of servers before 20.6.1 are left out: no client has them. */
function conflicting({ expected: asked, current }: Failure): AppendResp {
  const conflict = new streams.AppendResp.WrongExpectedVersion()
  if (asked === expected.any) conflict.setExpectedAny(new shared.Empty())
  else if (asked === expected.exists) conflict.setExpectedStreamExists(new shared.Empty())
  else if (asked === expected.noStream) conflict.setExpectedNoStream(new shared.Empty())
  else conflict.setExpectedRevision(String(asked))
  if (current < 0n) conflict.setCurrentNoStream(new shared.Empty())
  else conflict.setCurrentRevision(String(current))
  return new streams.AppendResp().setWrongExpectedVersion(conflict)
}
