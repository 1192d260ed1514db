import type {
  AppendRecord,
  AppendRecordsRequest,
  AppendRequest,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v2/streams/streams_pb.js'

import { isUsableId } from './event-id.ts'
import { ignoringCase } from './ignoring-case.ts'
import { badRequest, type FieldViolation } from './v2-errors.ts'

const wrongState =
  'Expected state must be positive or one of the allowed constants: NoStream (-1), Exists (-4), Deleted (-5), or Tombstoned (-6). Any (-2) is not allowed.'
const wrongRevision =
  'Expected revision must be positive or one of the allowed constants: NoStream (-1), Any (-2) or Exists (-4).'
const wrongSchemaName =
  'Schema name can only contain unicode letters, digits, underscores, dashes, periods, colons, and dollar signs. Attempted Value: '

export function assertRecordsRequest(request: AppendRecordsRequest): void {
  const violations: FieldViolation[] = []
  if (request.getRecordsList().length === 0) {
    violations.push(['Records', 'Append records request must contain at least one record.'])
  }
  const names = new Set<string>()
  let isTwice = false
  for (const [i, check] of request.getChecksList().entries()) {
    const state = check.getStreamState()
    if (!state) {
      violations.push([`Checks[${i}].TypeCase`, 'Each consistency check must specify a type.'])
      continue
    }
    violations.push(...ofStream(`Checks[${i}].StreamState.Stream`, state.getStream()))
    if (!isAllowed(state.getExpectedState(), [-1n, -4n, -5n, -6n])) {
      violations.push([`Checks[${i}].StreamState.ExpectedState`, wrongState])
    }
    isTwice ||= names.has(ignoringCase(state.getStream()))
    names.add(ignoringCase(state.getStream()))
  }
  if (isTwice) violations.push(['Checks', 'Each stream can only appear once in consistency checks.'])
  if (violations.length > 0) throw badRequest('AppendRecordsRequest', violations)
}

export function assertSessionRequest(request: AppendRequest): void {
  const violations = ofStream('Stream', request.getStream())
  if (!isAllowed(request.getExpectedRevision() ?? '0', [-1n, -2n, -4n])) {
    violations.push(['ExpectedRevision', wrongRevision])
  }
  if (request.getRecordsList().length === 0) {
    violations.push(['Records', 'Stream append request must contain at least one record'])
  }
  if (violations.length > 0) throw badRequest('AppendRequest', violations)
}

/** A record that is complete; what is wrong with one is said of its request, by its old name. */
export function assertRecord(
  record: AppendRecord,
  stream: string,
  id: string,
  properties: readonly string[],
): void {
  // Of a record without a stream nothing is said here.
  const violations = record.getStream() === '' ? [] : ofStream('Stream', stream)
  if (!isUsableId(id)) {
    violations.push(['RecordId.Record ID', 'Record ID must be a valid and non-empty UUID.'])
  }
  const schema = record.getSchema()!
  const format: number = schema.getFormat()
  const formatField = 'Schema.Format.Schema format'
  if (format < 0 || format > 4) {
    violations.push([formatField, 'Schema format must be one of Json, Protobuf or Bytes.'])
  }
  if (format === 0) violations.push([formatField, 'Schema format must not be Unspecified.'])
  const name = schema.getName()
  if (name.trim() === '') violations.push(['Schema.Name', 'Schema name must not be empty'])
  if (name !== name.normalize('NFC')) {
    violations.push(['Schema.Name', 'Schema name must be in Unicode NFC (Normalization Form C)'])
  }
  // .NET looks at units of UTF-16, of which those of a pair are no letters.
  if (!/^[\p{L}\p{N}_.$:-]+\n?$/u.test(name) || /[\ud800-\udfff]/.test(name))
    violations.push(['Schema.Name', wrongSchemaName + name])
  if (schema.hasId() && !isUsableId(schema.getId()!)) {
    violations.push(['Schema.Id.Schema ID', 'Schema ID must be a valid and non-empty UUID'])
  }
  for (const [i, key] of properties.entries()) {
    if (key.trim() === '') violations.push([`Properties[${i}].Key`, 'Property keys must not be empty.'])
  }
  if (violations.length > 0) throw badRequest('AppendRequest', violations)
}

function ofStream(field: string, name: string): FieldViolation[] {
  if (name.trim() === '') return [[`${field}.Stream`, 'Stream must not be empty.']]
  return name === '$$' ? [[`${field}.Stream`, "Stream must not be '$$'."]] : []
}

function isAllowed(text: string, constants: readonly bigint[]): boolean {
  const value = BigInt(text)
  return value >= 0n || constants.includes(value)
}
