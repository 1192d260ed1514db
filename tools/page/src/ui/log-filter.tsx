import type { About } from '../../../src/inspector/api.ts'
import type { Params } from '../route.ts'
import { Field, type InputOf } from './controls.tsx'

/** The fields by which the events of all streams are filtered. */
export function LogFields({ about, input }: { readonly about: About; readonly input: InputOf }) {
  const types = [...new Set(about.aggregates.flatMap(({ types }) => types))].sort()
  return (
    <>
      <Field name="Type" grow>
        <input type="search" spellcheck={false} list="types" {...input('type')} />
      </Field>
      <datalist id="types">
        {types.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <Field name="Category">
        <input type="search" spellcheck={false} size={12} {...input('category')} />
      </Field>
      <Field name="Stream" grow>
        <input type="search" spellcheck={false} {...input('stream')} />
      </Field>
    </>
  )
}

/** What these fields mean in a call. Several types are separated by commas or blanks. */
export function logFilter({ stream, category, type }: Params): {
  readonly streams?: readonly string[]
  readonly categories?: readonly string[]
  readonly types?: readonly string[]
} {
  return {
    ...(stream !== undefined && { streams: [stream] }),
    ...(category !== undefined && { categories: [category] }),
    ...(type !== undefined && { types: type.split(/[\s,]+/).filter((name) => name !== '') }),
  }
}
