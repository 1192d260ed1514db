import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo } from '../route.ts'
import { Field, FilterBar, Pages } from '../ui/controls.tsx'
import { hueOf, whole } from '../ui/format.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { Text } from '../ui/text.tsx'

const ROWS = 100

/** All streams, in the order of their names. */
export function StreamsPage({ about, route }: PageProps) {
  const { category, prefix, after } = route.params
  const isListed = about.capabilities.listsStreams
  const categories = useCall('categories', isListed ? {} : undefined)
  const streams = useCall(
    'streams',
    isListed ? { ...filled({ category, prefix, after }), limit: ROWS } : undefined,
  )
  return (
    <>
      <h1>Streams</h1>
      {isListed ? (
        <>
          <FilterBar
            values={{ category, prefix }}
            onApply={(values) => go(linkTo('streams', undefined, values))}
          >
            {(input) => (
              <>
                <Field name="Category">
                  <select {...input('category')}>
                    <option value="">all</option>
                    {category !== undefined && categories.data?.categories.includes(category) !== true && (
                      <option value={category}>{category}</option>
                    )}
                    {categories.data?.categories.map((name) => (
                      <option key={name} value={name}>
                        {name}
                      </option>
                    ))}
                  </select>
                </Field>
                <Field name="Name begins with" grow>
                  <input type="search" spellcheck={false} {...input('prefix')} />
                </Field>
              </>
            )}
          </FilterBar>
          <Result called={streams}>
            {({ streams, next }) =>
              streams.length === 0 ? (
                category === undefined && prefix === undefined && after === undefined ? (
                  <Empty title="The store is empty">
                    Its streams are listed here as soon as a program has appended the first event.
                  </Empty>
                ) : (
                  <Empty title="No stream is called so">
                    <a href={linkTo('streams')}>Show all streams</a>
                  </Empty>
                )
              ) : (
                <>
                  <table class="rows">
                    <thead>
                      <tr>
                        <th scope="col">Stream</th>
                        <th scope="col" class="number">
                          Events
                        </th>
                        <th scope="col" class="number">
                          Revision
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {streams.map(({ stream, events, revision }) => (
                        <tr key={stream}>
                          <th scope="row">
                            <a class="name" href={linkTo('stream', stream)}>
                              <span
                                class={`dot hue-${String(hueOf(categoryOf(stream)))}`}
                                aria-hidden="true"
                              />
                              <Text value={stream} />
                            </a>
                          </th>
                          <td class="number">{whole(events)}</td>
                          <td class="number">{whole(revision)}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                  {(after !== undefined || next !== undefined) && (
                    <Pages
                      links={[
                        [
                          'First page',
                          after === undefined
                            ? undefined
                            : linkTo('streams', undefined, { category, prefix }),
                        ],
                        [
                          'Next page',
                          next === undefined
                            ? undefined
                            : linkTo('streams', undefined, { category, prefix, after: next }),
                        ],
                      ]}
                    />
                  )}
                </>
              )
            }
          </Result>
        </>
      ) : (
        <NotListed />
      )}
    </>
  )
}

/** A store without an index of its streams: one is opened by its name, or found in the log. */
function NotListed() {
  const recent = useCall('log', { direction: 'backwards', limit: 500 })
  return (
    <>
      <p class="lead">
        This store has no index of its streams, so it cannot list them. Open one by its name, or choose one of
        those that were appended to last.
      </p>
      <FilterBar
        values={{ stream: '' }}
        action="Open"
        onApply={({ stream }) => stream !== undefined && go(linkTo('stream', stream))}
      >
        {(input) => (
          <Field name="Name of the stream" grow>
            <input type="search" spellcheck={false} required {...input('stream')} />
          </Field>
        )}
      </FilterBar>
      <Result called={recent}>
        {({ events }) => {
          const newest = new Map(events.toReversed().map((event) => [event.stream, event]))
          if (newest.size === 0) {
            return (
              <Empty title="The store is empty">
                Streams are shown here once a program has appended events.
              </Empty>
            )
          }
          return (
            <table class="rows">
              <thead>
                <tr>
                  <th scope="col">Stream</th>
                  <th scope="col" class="number">
                    Revision
                  </th>
                </tr>
              </thead>
              <tbody>
                {[...newest.values()].toReversed().map(({ stream, revision }) => (
                  <tr key={stream}>
                    <th scope="row">
                      <a class="name" href={linkTo('stream', stream)}>
                        <span class={`dot hue-${String(hueOf(categoryOf(stream)))}`} aria-hidden="true" />
                        <Text value={stream} />
                      </a>
                    </th>
                    <td class="number">{whole(revision)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }}
      </Result>
    </>
  )
}

function categoryOf(stream: string): string {
  return stream.split('-', 1)[0]!
}

/** Without what is absent. */
export function filled<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined && value !== ''),
  ) as never
}
