import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'

/** A field of a form, with its name. */
export function Field({
  name,
  children,
  grow = false,
}: {
  readonly name: string
  readonly children: ComponentChildren
  readonly grow?: boolean
}) {
  return (
    <label class={grow ? 'field grow' : 'field'}>
      <span class="field-name">{name}</span>
      {children}
    </label>
  )
}

/** What an input of a {@link FilterBar} is given, by the name of its value. */
export type InputOf = (name: string) => {
  readonly value: string
  readonly onInput: (event: { currentTarget: { value: string } }) => void
}

/** A line of fields that count when they are submitted: by Enter, or by the button. */
export function FilterBar({
  values,
  action,
  onApply,
  children,
}: {
  readonly values: Readonly<Record<string, string | undefined>>
  /** The word on the button, if it does something with the values once; the fields are empty again afterwards. */
  readonly action?: string
  readonly onApply: (values: Readonly<Record<string, string>>) => void
  readonly children: (input: InputOf) => ComponentChildren
}) {
  const key = JSON.stringify(values)
  const [draft, setDraft] = useState<Readonly<Record<string, string | undefined>>>(values)
  // The address has changed: by a link, or by going back.
  useEffect(() => setDraft(values), [key])
  const isFiltered = Object.values(values).some((value) => value !== undefined && value !== '')
  const filled = (draft: Readonly<Record<string, string | undefined>>) =>
    Object.fromEntries(Object.entries(draft).map(([name, value]) => [name, (value ?? '').trim()]))
  return (
    <form
      class="bar"
      onSubmit={(event) => {
        event.preventDefault()
        onApply(filled(draft))
        if (action !== undefined) setDraft(values)
      }}
    >
      {children((name) => ({
        value: draft[name] ?? '',
        onInput: ({ currentTarget: { value } }) => setDraft((draft) => ({ ...draft, [name]: value })),
      }))}
      <button class="button primary" type="submit">
        {action ?? 'Show'}
      </button>
      {isFiltered && (
        <button
          class="button"
          type="button"
          onClick={() => onApply(Object.fromEntries(Object.keys(values).map((name) => [name, ''])))}
        >
          Clear
        </button>
      )}
    </form>
  )
}

/** Links to other pages of a list. A link that leads nowhere is shown without being one. */
export function Pages({
  links,
  children,
}: {
  readonly links: readonly (readonly [text: string, link: string | undefined])[]
  readonly children?: ComponentChildren
}) {
  return (
    <nav class="pages" aria-label="Pages of the list">
      {links.map(([text, link]) =>
        link === undefined ? (
          <span key={text} class="button disabled" aria-disabled="true">
            {text}
          </span>
        ) : (
          <a key={text} class="button" href={link}>
            {text}
          </a>
        ),
      )}
      {children !== undefined && <span class="pages-note">{children}</span>}
    </nav>
  )
}
