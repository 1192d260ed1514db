import type { ComponentChildren } from 'preact'
import { useEffect, useId, useState } from 'preact/hooks'

import type { FormSchema } from '../../../src/inspector/api.ts'
import { Text } from './text.tsx'

/** What is written into a field: a value of JSON; `undefined`: the field is left out. */
type Written = unknown

interface FieldProps {
  readonly schema: FormSchema
  readonly name: string
  readonly value: Written
  readonly isRequired: boolean
  readonly onChange: (value: Written) => void
}

/** Whether a form can be made of a schema. What is in it and cannot becomes a box for JSON. */
export function hasForm(schema: FormSchema): boolean {
  return schema.type === 'object' && schema.properties !== undefined
}

/** The fields of an object, as its schema has them. */
export function SchemaFields({
  schema,
  value,
  onChange,
}: {
  readonly schema: FormSchema
  readonly value: Written
  readonly onChange: (value: Readonly<Record<string, Written>>) => void
}) {
  const held = isRecord(value) ? value : {}
  return (
    <>
      {Object.entries(schema.properties ?? {}).map(([name, property]) => (
        <SchemaField
          key={name}
          name={name}
          schema={property}
          isRequired={schema.required?.includes(name) === true}
          value={Object.hasOwn(held, name) ? held[name] : undefined}
          onChange={(written) => {
            const { [name]: _, ...others } = held
            onChange(written === undefined ? others : { ...others, [name]: written })
          }}
        />
      ))}
    </>
  )
}

function SchemaField(props: FieldProps) {
  const { schema, name, value, isRequired, onChange } = props
  if (hasForm(schema)) {
    return (
      <fieldset class="form-group">
        <legend>
          <Name {...props} />
        </legend>
        <SchemaFields schema={schema} value={value} onChange={onChange} />
      </fieldset>
    )
  }
  if (schema.type === 'array' && schema.items) return <Items {...props} items={schema.items} />
  if (schema.enum || schema.type === 'boolean') {
    const choices = schema.enum ?? [true, false]
    return (
      <Labelled {...props}>
        {(hint) => (
          <select
            {...hint}
            value={value === undefined ? '' : JSON.stringify(value)}
            required={isRequired && schema.default === undefined}
            onChange={({ currentTarget: { value } }) =>
              onChange(value === '' ? undefined : (JSON.parse(value) as unknown))
            }
          >
            <option value="">{placeholder(schema, isRequired)}</option>
            {choices.map((choice) => (
              <option key={JSON.stringify(choice)} value={JSON.stringify(choice)}>
                {typeof choice === 'boolean' ? (choice ? 'yes' : 'no') : String(choice)}
              </option>
            ))}
          </select>
        )}
      </Labelled>
    )
  }
  if (schema.type === 'number' || schema.type === 'integer') {
    return (
      <Labelled {...props}>
        {(hint) => (
          <input
            {...hint}
            type="number"
            step={schema.type === 'integer' ? 1 : 'any'}
            {...limitsOf(schema)}
            required={isRequired && schema.default === undefined}
            placeholder={placeholder(schema, isRequired)}
            value={typeof value === 'number' ? value : ''}
            onInput={({ currentTarget }) =>
              onChange(Number.isNaN(currentTarget.valueAsNumber) ? undefined : currentTarget.valueAsNumber)
            }
          />
        )}
      </Labelled>
    )
  }
  if (schema.type === 'string') {
    return (
      <Labelled {...props}>
        {(hint) => (
          <input
            {...hint}
            type="text"
            spellcheck={false}
            required={isRequired && schema.default === undefined}
            placeholder={placeholder(schema, isRequired)}
            value={typeof value === 'string' ? value : ''}
            onInput={({ currentTarget: { value } }) => onChange(value === '' ? undefined : value)}
          />
        )}
      </Labelled>
    )
  }
  return (
    <Labelled {...props}>
      {() => <JsonBox label={name} value={value} rows={2} onChange={onChange} />}
    </Labelled>
  )
}

function Items({ items, ...props }: FieldProps & { readonly items: FormSchema }) {
  const { name, value, onChange } = props
  const held: readonly Written[] = Array.isArray(value) ? value : []
  return (
    <fieldset class="form-group">
      <legend>
        <Name {...props} />
      </legend>
      {held.map((item, i) => (
        <div class="form-item" key={i}>
          <SchemaField
            schema={items}
            name={`${name}[${String(i)}]`}
            value={item}
            isRequired
            onChange={(written) => onChange(held.map((other, at) => (at === i ? (written ?? null) : other)))}
          />
          <button
            type="button"
            class="button small"
            aria-label={`Remove ${name}[${String(i)}]`}
            onClick={() => onChange(held.filter((_, at) => at !== i))}
          >
            Remove
          </button>
        </div>
      ))}
      <button type="button" class="button small" onClick={() => onChange([...held, emptyOf(items)])}>
        Add to {name}
      </button>
    </fieldset>
  )
}

/** A box for JSON. What is no JSON is said, and does not count. */
export function JsonBox({
  label,
  value,
  rows,
  onChange,
}: {
  readonly label: string
  readonly value: Written
  readonly rows: number
  readonly onChange: (value: Written) => void
}) {
  const json = value === undefined ? '' : JSON.stringify(value, undefined, 2)
  const [text, setText] = useState(json)
  const [problem, setProblem] = useState<string>()
  // It was changed from elsewhere, not by what is being written here.
  useEffect(() => {
    if (parsed(text)?.json !== json) setText(json)
  }, [json])
  return (
    <>
      <textarea
        aria-label={`${label}, as JSON`}
        spellcheck={false}
        rows={Math.max(rows, Math.min(text.split('\n').length, 24))}
        value={text}
        aria-invalid={problem !== undefined}
        onInput={({ currentTarget }) => {
          setText(currentTarget.value)
          const result = parsed(currentTarget.value)
          setProblem(result ? undefined : 'This is no JSON yet.')
          currentTarget.setCustomValidity(result ? '' : 'This is no JSON yet.')
          if (result) onChange(result.value)
        }}
      />
      {problem !== undefined && <span class="form-problem">{problem}</span>}
    </>
  )
}

function parsed(text: string): { readonly value: Written; readonly json: string } | undefined {
  if (text.trim() === '') return { value: undefined, json: '' }
  try {
    const value: unknown = JSON.parse(text)
    return { value, json: JSON.stringify(value, undefined, 2) }
  } catch {
    return undefined
  }
}

function Labelled({
  children,
  ...props
}: FieldProps & {
  readonly children: (hint: { readonly 'aria-describedby'?: string }) => ComponentChildren
}) {
  const id = useId()
  const { description } = props.schema
  return (
    <div class="form-row">
      <label class="form-field">
        <span class="form-name">
          <Name {...props} />
        </span>
        <span class="form-control">
          {children(description === undefined ? {} : { 'aria-describedby': id })}
        </span>
      </label>
      {description !== undefined && (
        <p class="form-hint" id={id}>
          <Text value={description} />
        </p>
      )}
    </div>
  )
}

function Name({ name, isRequired }: FieldProps) {
  return (
    <>
      <Text value={name} />
      {!isRequired && <span class="form-optional"> optional</span>}
    </>
  )
}

function placeholder({ default: preset }: FormSchema, isRequired: boolean): string {
  if (preset !== undefined) return `${JSON.stringify(preset)} by default`
  return isRequired ? '' : 'left out'
}

/** The limits of a number; those of the language are none that anybody chose. */
function limitsOf({ minimum, maximum }: FormSchema): { readonly min?: number; readonly max?: number } {
  const isChosen = (limit: number | undefined) =>
    limit !== undefined && Math.abs(limit) < Number.MAX_SAFE_INTEGER
  return { ...(isChosen(minimum) && { min: minimum! }), ...(isChosen(maximum) && { max: maximum! }) }
}

function emptyOf({ type }: FormSchema): Written {
  if (type === 'object') return {}
  return type === 'array' ? [] : type === 'string' ? '' : null
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
