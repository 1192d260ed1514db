import { once } from 'node:events'
import {
  CheckpointFromAnotherStoreError,
  ConflictError,
  FoldError,
  HistoryRewoundError,
  ImportConflictError,
  InvalidArgumentError,
  InvalidDataError,
  KeyReusedError,
  KeyStoreError,
  LimitError,
  NotCaughtUpError,
  OpenError,
  OutcomeUnknownError,
  OverloadedError,
  ProjectionBlockedError,
  ProjectionVersionError,
  RejectedError,
  SealBrokenError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
  StoreFullError,
  StoreTimeoutError,
  StoreUnavailableError,
  StreamDeletedError,
  StreamTruncatedError,
  SubjectErasedError,
  UnknownEventError,
  UnsupportedError,
  type AnyMnemeError,
  type ErrorCode,
} from 'mneme'
import { httpAnswers } from 'mneme/http'
import { expect, test } from 'vitest'

const at = {
  stream: 'secret-1',
  type: 'secret',
  version: 1,
  revision: 0,
  projection: 'secret',
  defined: 2,
  built: 1,
}
const issues = [{ path: 'data.a', message: 'no' }]
const conflict = { stream: 'secret-1', expected: 0, actual: 1 } as const

/** An error of each code, the status of its answer, and whether the answer asks to send the request again. */
const errors: { readonly [C in ErrorCode]: [Extract<AnyMnemeError, { code: C }>, number, boolean][] } = {
  REJECTED: [[new RejectedError({ reason: 'no' }), 422, false]],
  INVALID_DATA: [
    [new InvalidDataError('input', issues), 400, false],
    [new InvalidDataError('Order.Placed', issues), 400, false],
    [new InvalidDataError('metadata', issues), 500, false],
  ],
  KEY_REUSED: [[new KeyReusedError('secret'), 422, false]],
  LIMIT_EXCEEDED: [
    [new LimitError('key', 'keyBytes', 256, 257), 400, false],
    [new LimitError('secret', 'streamNameBytes', 512, 513), 400, false],
    [new LimitError('secret', 'eventBytes', 1, 2), 413, false],
  ],
  CONFLICT: [
    [new ConflictError(conflict), 503, true],
    [new ConflictError(conflict, true), 412, false],
  ],
  OVERLOADED: [[new OverloadedError(9), 503, true]],
  STORE_BUSY: [[new StoreBusyError(9), 503, true]],
  STORE_FULL: [[new StoreFullError('secret'), 503, true]],
  STORE_FAILED: [[new StoreFailedError('secret'), 503, true]],
  STORE_UNAVAILABLE: [[new StoreUnavailableError('secret'), 503, true]],
  STORE_TIMEOUT: [[new StoreTimeoutError('secret'), 503, true]],
  NOT_CAUGHT_UP: [[new NotCaughtUpError('secret', 9), 503, true]],
  STORE_CLOSED: [[new StoreClosedError(), 503, true]],
  OUTCOME_UNKNOWN: [[new OutcomeUnknownError('secret'), 500, false]],
  STREAM_DELETED: [[new StreamDeletedError('secret'), 410, false]],
  SUBJECT_ERASED: [[new SubjectErasedError('secret', 'secret'), 410, false]],
  KEY_STORE_FAILED: [[new KeyStoreError('secret'), 503, true]],
  SEAL_BROKEN: [[new SealBrokenError('secret'), 500, false]],
  STREAM_TRUNCATED: [[new StreamTruncatedError('secret', 3), 410, false]],
  CANNOT_OPEN: [[new OpenError('failed', 'secret'), 500, false]],
  CHECKPOINT_FROM_ANOTHER_STORE: [[new CheckpointFromAnotherStoreError('secret', 'b'), 500, false]],
  FOLD_FAILED: [[new FoldError(at, new Error('secret')), 500, false]],
  HISTORY_REWOUND: [[new HistoryRewoundError('secret'), 500, false]],
  IMPORT_CONFLICT: [[new ImportConflictError('secret', 1, 'b'), 500, false]],
  INVALID_ARGUMENT: [[new InvalidArgumentError('secret', 'a'), 500, false]],
  PROJECTION_BLOCKED: [[new ProjectionBlockedError('secret', 'b'), 500, false]],
  PROJECTION_VERSION: [[new ProjectionVersionError(at, 'secret'), 500, false]],
  UNKNOWN_EVENT: [[new UnknownEventError(at, 'secret'), 500, false]],
  UNSUPPORTED: [[new UnsupportedError('secret'), 500, false]],
}

const request = new Request('http://shop/')

test.each(
  Object.values(errors)
    .flat()
    .map(([error, ...rest]) => [error.code, error, ...rest] as const),
)('%s: %s is answered with %i', async (code, error, status, isRetryable) => {
  const told: unknown[] = []
  const response = httpAnswers({ retryAfter: 7, onError: (one) => void told.push(one) }).problem(
    error,
    request,
  )
  expect(response.status).toBe(status)
  expect(response.headers.get('Retry-After')).toBe(isRetryable ? '7' : null)
  expect(response.headers.get('Cache-Control')).toBe('no-store')
  const text = await response.text()
  expect(text).not.toContain('secret')
  expect(JSON.parse(text)).toMatchObject({ code, status, type: 'about:blank' })
  expect(told).toEqual(status >= 500 ? [error] : [])
})

test('after an unknown outcome, a request with a key is to be sent again', async () => {
  const http = httpAnswers()
  const answer = (headers: Record<string, string>) =>
    http.command(new Request('http://shop/', { method: 'POST', headers }), {
      principal: null,
      execute: () => Promise.reject(new OutcomeUnknownError('lost')),
      rejections: {},
    })
  const [keyed, bare] = [await answer({ 'Idempotency-Key': 'k' }), await answer({})]
  expect([keyed.status, keyed.headers.get('Retry-After')]).toEqual([503, '1'])
  expect([bare.status, bare.headers.get('Retry-After')]).toEqual([500, null])
})

test('with a base, the type of a problem is a URI', async () => {
  const http = httpAnswers({ typeBase: 'https://shop.example/problems/' })
  const typeOf = async (error: unknown) =>
    ((await http.problem(error, request).json()) as { type: string }).type
  expect(await typeOf(new KeyReusedError('a'))).toBe('https://shop.example/problems/key-reused')
  expect(await typeOf(new RejectedError({ reason: 'not open' }))).toBe(
    'https://shop.example/problems/not%20open',
  )
  expect(await typeOf(new Error('a'))).toBe('about:blank')
})

test.each([
  ['https://x/problems', 'https://x/problems/key-reused'],
  ['https://x/problems/', 'https://x/problems/key-reused'],
  ['https://x/problems#', 'https://x/problems#key-reused'],
  ['urn:problem:', 'urn:problem:key-reused'],
  ['https://x/?problem=', 'https://x/?problem=key-reused'],
])('the base %s of the types of problems needs no slash at its end', async (typeBase, type) => {
  const http = httpAnswers({ typeBase })
  expect(await http.problem(new KeyReusedError('a'), request).json()).toMatchObject({ type })
})

test('an onError that throws keeps nobody from an answer', async () => {
  const told = once(process, 'warning')
  const http = httpAnswers({
    onError: () => {
      throw new Error('the logger is down')
    },
  })
  const response = http.problem(new Error('inside'), new Request('http://shop/'))
  expect(response.status).toBe(500)
  expect(String((await told)[0])).toContain('onError threw Error: the logger is down')
})
