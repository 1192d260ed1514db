import { useMemo, useState } from 'preact/hooks'

import type { Cut, Path, Shown } from '../../../src/inspector/api.ts'
import { failureOf } from '../calls.ts'
import { whole } from './format.tsx'
import { Text } from './text.tsx'

/** Gives more of a value: what is at a path, without so many of its first items or characters. */
export type Load = (path: Path, skip: number) => Promise<Shown>

/** A value as a tree. What is deep is folded, and what is large is loaded when somebody asks for it. */
export function JsonView({
  shown,
  load,
  marked,
}: {
  readonly shown: Shown
  readonly load?: Load | undefined
  /** Paths to point out, as {@link keyOf} writes them. */
  readonly marked?: ReadonlySet<string> | undefined
}) {
  const index = useMemo(() => indexOf(shown), [shown])
  return (
    <div class="json">
      <Node value={shown.value} path={[]} at={[]} index={index} load={load} marked={marked} depth={0} />
    </div>
  )
}

/** A path as a key of a Map or a Set. */
export function keyOf(path: Path): string {
  return JSON.stringify(path)
}

interface Index {
  readonly cuts: ReadonlyMap<string, Cut>
  readonly tags: ReadonlyMap<string, string>
}

function indexOf({ cuts, tags }: Shown): Index {
  return {
    cuts: new Map(cuts.map((cut) => [keyOf(cut.path), cut])),
    tags: new Map(tags.map(({ path, name }) => [keyOf(path), name])),
  }
}

interface NodeProps {
  readonly value: unknown
  /** The path in the whole value. */
  readonly path: Path
  /** The path in the part that was loaded, by which its cuts are found. */
  readonly at: Path
  readonly index: Index
  readonly load: Load | undefined
  readonly marked: ReadonlySet<string> | undefined
  readonly depth: number
  readonly name?: string | number
}

function Node(props: NodeProps) {
  const { value, path, at, index, marked, name } = props
  const isMarked = marked?.has(keyOf(path)) === true
  const label = name !== undefined && (
    <>
      <span class={typeof name === 'number' ? 'json-index' : 'json-key'}>
        <Text value={String(name)} />
      </span>
      <span class="json-colon">: </span>
    </>
  )
  const isSealed = isObject(value) && typeof value.$sealed === 'string' && Object.keys(value).length === 1
  if (isObject(value) && !isSealed)
    return <Branch {...props} value={value} label={label} isMarked={isMarked} />
  return (
    <div class={isMarked ? 'json-line marked' : 'json-line'}>
      <span class="json-pad" />
      <span class="json-content">
        {label}
        {isSealed ? (
          <span class="chip" title="A personal value, sealed under the key of its subject">
            sealed
          </span>
        ) : typeof value === 'string' ? (
          <Letters text={value} cut={index.cuts.get(keyOf(at))} path={path} load={props.load} />
        ) : (
          <span class="json-plain">{String(value)}</span>
        )}
        {index.tags.has(keyOf(at)) && <span class="json-tag"> {index.tags.get(keyOf(at))}</span>}
      </span>
    </div>
  )
}

/** A branch of so few children is unfolded, unless it is deep. */
const MAX_UNFOLDED = 4

function Branch({
  value,
  path,
  at,
  index,
  load,
  marked,
  depth,
  label,
  isMarked,
}: NodeProps & {
  readonly value: Readonly<Record<string, unknown>> | readonly unknown[]
  readonly label: preact.ComponentChildren
  readonly isMarked: boolean
}) {
  const cut = index.cuts.get(keyOf(at))
  const tag = index.tags.get(keyOf(at))
  const isList = Array.isArray(value) || cut?.kind === 'array'
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  const [parts, setParts] = useState<readonly Shown[]>([])
  const [isOpen, setOpen] = useState(
    depth < 2 || (depth < 4 && keys.length <= MAX_UNFOLDED) || holdsMarked(marked, path),
  )
  const size = cut?.size ?? keys.length
  const held = keys.length + parts.reduce((sum, part) => sum + sizeOf(part.value), 0)
  const brackets = isList ? '[]' : '{}'
  if (size === 0) {
    return (
      <div class={isMarked ? 'json-line marked' : 'json-line'}>
        <span class="json-pad" />
        <span class="json-content">
          {label}
          <span class="json-plain">{brackets}</span>
          {tag !== undefined && <span class="json-tag"> {tag}</span>}
        </span>
      </div>
    )
  }
  const child = (key: string | number, value: unknown, at: Path, index: Index, shift = 0) => {
    const name = typeof key === 'number' ? key + shift : key
    const props = { index, load, marked, depth: depth + 1, value, at }
    return <Node key={name} {...props} name={name} path={[...path, name]} />
  }
  let shift = keys.length
  // Of an event's data everybody knows that it is an object.
  const isRoot = path.length === 0 && !isList && tag === undefined
  return (
    <div class={isMarked ? 'json-branch marked' : 'json-branch'}>
      {!isRoot && (
        <button
          type="button"
          class="json-line json-fold"
          aria-expanded={isOpen}
          onClick={() => setOpen(!isOpen)}
        >
          <span class="json-pad" aria-hidden="true" />
          <span class="json-content">
            {label}
            {tag !== undefined && <span class="json-tag">{tag} </span>}
            <span class="json-size">
              {brackets[0]}
              {whole(size)} {isList ? (size === 1 ? 'item' : 'items') : size === 1 ? 'field' : 'fields'}
              {brackets[1]}
            </span>
          </span>
        </button>
      )}
      {(isOpen || isRoot) && (
        <div class={isRoot ? undefined : 'json-children'}>
          {keys.map((key) =>
            child(key, (value as Record<string | number, unknown>)[key], [...at, key], index),
          )}
          {parts.map((part) => {
            const before = shift
            shift += sizeOf(part.value)
            const index = indexOf(part)
            const entries = Array.isArray(part.value)
              ? [...part.value.entries()]
              : Object.entries(part.value as Record<string, unknown>)
            return entries.map(([key, value]) => child(key, value, [key], index, before))
          })}
          {held < size && load && (
            <More
              text={
                held === 0 ? `show ${isList ? 'items' : 'fields'}` : `show more: ${whole(size - held)} left`
              }
              load={async () => {
                const part = await load(path, held)
                setParts((parts) => [...parts, part])
              }}
            />
          )}
        </div>
      )}
    </div>
  )
}

function Letters({
  text,
  cut,
  path,
  load,
}: {
  readonly text: string
  readonly cut: Cut | undefined
  readonly path: Path
  readonly load: Load | undefined
}) {
  const [more, setMore] = useState('')
  const all = text + more
  const left = (cut?.size ?? all.length) - all.length
  return (
    <span class="json-text">
      “<Text value={all} />
      {left > 0 ? '…' : '”'}
      {left > 0 && load && (
        <More
          text={`read on: ${whole(left)} characters left`}
          load={async () => {
            const part = await load(path, all.length)
            setMore(more + String(part.value))
          }}
        />
      )}
    </span>
  )
}

function More({ text, load }: { readonly text: string; readonly load: () => Promise<void> }) {
  const [state, setState] = useState<string>()
  const start = () => {
    setState('loading…')
    load().then(
      () => setState(undefined),
      (error: unknown) => setState(failureOf(error).message),
    )
  }
  return (
    <button type="button" class="json-more" onClick={start}>
      {state ?? text}
    </button>
  )
}

function holdsMarked(marked: ReadonlySet<string> | undefined, path: Path): boolean {
  if (!marked) return false
  const start = keyOf(path).slice(0, -1)
  for (const key of marked) if (key.startsWith(start)) return true
  return false
}

function sizeOf(value: unknown): number {
  return isObject(value) ? Object.keys(value).length : 0
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
