import type { Value } from 'google-protobuf/google/protobuf/struct_pb.js'

import { protobuf, struct } from './generated.ts'
import type { LogRecord } from './log.ts'

/** The metadata that v1 shows: of a record of v2, its properties and what the server knows of its schema, as JSON. */
export function metadataShown({ metadata, properties, type, isJson }: LogRecord): Uint8Array {
  if (!properties) return metadata
  const fields = new Map([...properties].map(([key, value]) => [key, json(value)]))
  fields.set('$schema.name', quote(type))
  if (isJson) fields.set('$schema.format', '"Json"')
  return Buffer.from(object([...fields]))
}

/** What the log keeps of properties: a `google.protobuf.Struct`, in their order, which the generated code would change. */
export function structOf(properties: ReadonlyMap<string, Value>): Uint8Array {
  const writer = new protobuf.BinaryWriter()
  for (const [key, value] of properties) {
    writer.writeMessage(1, {}, () => {
      writer.writeString(1, key)
      writer.writeBytes(2, value.serializeBinary())
    })
  }
  return writer.getResultBuffer()
}

export function textValue(text: string): Value {
  const value = new struct.Value()
  value.setStringValue(text)
  return value
}

/** As the formatter of .NET's Protobuf writes it. */
function json(value: Value): string {
  const kinds = struct.Value.KindCase
  switch (value.getKindCase()) {
    case kinds.STRING_VALUE:
      return quote(value.getStringValue())
    case kinds.NUMBER_VALUE:
      return String(value.getNumberValue())
    case kinds.BOOL_VALUE:
      return String(value.getBoolValue())
    case kinds.STRUCT_VALUE: {
      const fields: [string, string][] = []
      value
        .getStructValue()!
        .getFieldsMap()
        .forEach((field: Value, key: string) => fields.push([key, json(field)]))
      return object(fields)
    }
    case kinds.LIST_VALUE: {
      const items = value.getListValue()!.getValuesList().map(json)
      return items.length === 0 ? '[ ]' : `[ ${items.join(', ')} ]`
    }
    default:
      return 'null'
  }
}

function object(fields: readonly (readonly [string, string])[]): string {
  if (fields.length === 0) return '{ }'
  return `{ ${fields.map(([key, value]) => `${quote(key)}: ${value}`).join(', ')} }`
}

/** Beyond what JSON asks for: what could be taken for markup or is not seen, and each half of a pair. */
const escaped =
  /[<>\u007f-\u009f\u00ad\u2028-\u202e\u200b-\u200f\u2060-\u2064\u206a-\u206f\ufff9-\ufffb\ud800-\udfff]|\ufeff|\u06dd|\u070f/g

function quote(text: string): string {
  return JSON.stringify(text).replace(
    escaped,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
