import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { sqliteStore } from 'mneme/sqlite'

test('streams are found one by one by the index of names, whatever number of events they have', async () => {
  const prepared: string[] = []
  let database!: Database.Database
  const store = await sqliteStore(':memory:', {
    driver: (file) => {
      database = new Database(file)
      return new Proxy(database, {
        get: (target, key) => {
          const value = Reflect.get(target, key) as unknown
          if (typeof value !== 'function') return value
          return (...given: unknown[]) => {
            if (key === 'prepare') prepared.push(String(given[0]))
            return Reflect.apply(value, target, given) as unknown
          }
        },
      })
    },
  })
  await store.append({ stream: 'a-1', events: [{ type: 'A', data: {} }] })
  for (const options of [{}, { category: 'a' }]) {
    prepared.length = 0
    for await (const { stream } of store.streams(options)) expect(stream).toBe('a-1')
    const [sql = ''] = prepared
    expect(sql).toContain('RECURSIVE')
    const values = Array.from({ length: sql.split('?').length - 1 }, () => 1)
    const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values) as { detail: string }[]
    const ofEvents = steps.map(({ detail }) => detail).filter((detail) => /mneme_events|\be\b/.test(detail))
    expect(ofEvents).toHaveLength(3)
    for (const step of ofEvents) expect(step).toMatch(/^SEARCH .* USING COVERING INDEX .*\(stream[>=]/)
  }
  await store.close()
})
