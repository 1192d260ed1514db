import { PgInstrumentation } from '@opentelemetry/instrumentation-pg'
import { createRequire } from 'node:module'
import { execute } from 'mneme'
import { mnemeInstrumentation } from 'mneme/opentelemetry'
import { postgresStore } from 'mneme/postgres'
import { expect, onTestFinished, test } from 'vitest'

import { sdk } from '../../opentelemetry/sdk.ts'
import { deposit, open } from '../../support/bank.ts'
import { serverProblem, testServer } from './server.ts'

test.skipIf(serverProblem)(
  "with the driver's instrumentation beside Mneme's, the queries of an append are spans in its trace",
  async () => {
    const { tracerProvider, meterProvider, spans } = sdk()
    const driver = new PgInstrumentation()
    driver.setTracerProvider(tracerProvider)
    driver.setMeterProvider(meterProvider)
    // It patches the driver when that is required.
    createRequire(import.meta.url)('pg')
    const own = mnemeInstrumentation({ tracerProvider, meterProvider })
    onTestFinished(() => {
      own.disable()
      driver.disable()
    })
    const store = await postgresStore(await (await testServer()).createDatabase())
    await execute(store, open('alice'))
    await execute(store, deposit({ account: 'alice', amount: 1 }))
    await store.close()

    const append = spans().findLast(({ name }) => name === 'append BankAccount')!
    const queries = spans().filter(
      ({ parentSpanContext }) => parentSpanContext?.spanId === append.spanContext().spanId,
    )
    expect(queries.map(({ name }) => name)).toEqual([expect.stringMatching(/^pg.query:SELECT/)])
    expect(queries[0]!.attributes['db.statement'] ?? queries[0]!.attributes['db.query.text']).toContain(
      'append',
    )
  },
)
