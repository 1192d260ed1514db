import type { AppendRecord } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v2/streams/streams_pb.js'
import type { Value } from 'google-protobuf/google/protobuf/struct_pb.js'

import { parseId } from './event-id.ts'
import { streamsV2 } from './generated.ts'
import { structOf, textValue } from './properties.ts'
import type { Limits } from './proposed-events.ts'
import { limits } from './record-size.ts'
import { assertRecord } from './request-validation.ts'
import { exception } from './rpc-errors.ts'
import { recordTooLarge, transactionTooLarge } from './v2-errors.ts'
import type { ProposedEvent } from './writer.ts'

/** Adds up the records of a request, up to what the server takes. */
export class RecordSizes {
  readonly #limits: Limits
  #count = 0
  #total = 0

  constructor(allowed: Limits) {
    this.#limits = allowed
  }

  add(stream: string, id: string, size: number): void {
    const { maxEventSize, maxAppendSize } = this.#limits
    if (size > maxEventSize) throw recordTooLarge(stream, id, size, maxEventSize)
    this.#total += size
    this.#count++
    if (this.#total > maxAppendSize) throw transactionTooLarge(this.#count, this.#total, maxAppendSize)
  }
}

/** An event of v2, checked and completed. */
export function proposedRecord(
  record: AppendRecord,
  stream: string,
  sizes: RecordSizes,
): Omit<ProposedEvent, 'streamIndex'> {
  const schema = record.getSchema()
  if (!schema) throw exception('Object reference not set to an instance of an object.')
  const isJson = schema.getFormat() === streamsV2.SchemaFormat.SCHEMA_FORMAT_JSON
  const properties = new Map<string, Value>()
  record.getPropertiesMap().forEach((value: Value, key: string) => properties.set(key, value))
  const add = (key: string, text: string) => {
    if (properties.has(key)) throw exception(`An item with the same key has already been added. Key: ${key}`)
    properties.set(key, textValue(text))
  }
  if (!isJson) add('$schema.format', formatName(schema.getFormat()))
  if (schema.hasId()) add('$schema.id', schema.getId()!)
  const id = record.hasRecordId() ? record.getRecordId()! : crypto.randomUUID()
  assertRecord(record, stream, id, [...properties.keys()])

  const type = schema.getName()
  const data = record.getData_asU8()
  const metadata = structOf(properties)
  sizes.add(stream, id, data.length + metadata.length + Buffer.byteLength(type))
  if (data.length + metadata.length + type.length * 2 > limits.record) {
    throw exception("Record is too big. (Parameter 'data')")
  }
  return { id: parseId(id)!, type, isJson, data, metadata, properties }
}

/** As .NET names the members of an enumeration. */
function formatName(format: number): string {
  return ['Unspecified', 'Json', 'Protobuf', 'Avro', 'Bytes'][format] ?? String(format)
}
