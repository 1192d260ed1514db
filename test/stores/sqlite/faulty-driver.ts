import type { SqliteDatabase, SqliteDriver, SqliteStatement } from 'mneme/sqlite'

/** A call of the driver: `exec`, `prepare`, `run`, `get` or `all`, and the SQL that it is for. */
interface DriverCall {
  readonly number: number
  readonly method: string
  readonly sql: string
}

/** When a call fails: not at all, before it took effect, or after. */
export type Fault = (call: DriverCall) => 'before' | 'after' | undefined

/** A driver whose calls fail as `fault` says; calls are numbered from 1. */
export function faultyDriver(
  driver: SqliteDriver,
  fault: Fault,
  error: () => unknown = ioError,
): SqliteDriver {
  let number = 0
  const call = <T>(method: string, sql: string, real: () => T): T => {
    const when = fault({ number: ++number, method, sql })
    if (when === 'before') throw error()
    const result = real()
    if (when === 'after') throw error()
    return result
  }
  return (file) => {
    const database = driver(file)
    const faulty: SqliteDatabase = {
      exec: (sql) => call('exec', sql, () => database.exec(sql)),
      prepare: (sql) =>
        faultyStatement(
          call('prepare', sql, () => database.prepare(sql)),
          sql,
          call,
        ),
      close: () => database.close(),
    }
    // As the driver has them, or has them not.
    for (const name of ['inTransaction', 'isTransaction'] as const) {
      if (database[name] !== undefined) Object.defineProperty(faulty, name, { get: () => database[name] })
    }
    return faulty
  }
}

function faultyStatement(
  statement: SqliteStatement,
  sql: string,
  call: <T>(method: string, sql: string, real: () => T) => T,
): SqliteStatement {
  return {
    run: (...values) => call('run', sql, () => statement.run(...values)),
    get: (...values) => call('get', sql, () => statement.get(...values)),
    all: (...values) => call('all', sql, () => statement.all(...values)),
  }
}

/** As both drivers say it. */
function ioError(): Error {
  return Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_WRITE', errcode: 778 })
}

export function busyError(): Error {
  return Object.assign(new Error('database is locked'), { code: 'SQLITE_BUSY', errcode: 5 })
}
