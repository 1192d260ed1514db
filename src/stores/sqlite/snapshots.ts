import type { NamedSnapshot, Snapshot, SnapshotKeeper } from '../../adapter/store-adapter.ts'
import { overwriting } from './erased.ts'
import type { SharedFile } from './shared-file.ts'
import type { Statements } from './connection.ts'

/** Snapshots in a table of the file. A snapshot takes one short transaction of the write queue. */
export function snapshotsIn(
  { connection, queue }: SharedFile,
  reading: <T>(read: (sql: Statements) => T) => Promise<T>,
  busyTimeout: number,
): Required<SnapshotKeeper> {
  const { sql } = connection
  return {
    get: (stream, name) => reading(({ snapshot }) => snapshot.get(stream, name) as Snapshot | undefined),
    // What a snapshot replaces is no longer erased with its events.
    put: (snapshot) =>
      queue.write(() => overwriting(connection.database, () => put(sql, snapshot)), busyTimeout),
    delete: async (stream) => {
      await queue.write(
        () => overwriting(connection.database, () => sql.deleteSnapshots.run(stream)),
        busyTimeout,
      )
    },
    list: ({ name, after = '', limit }) =>
      reading(({ listSnapshots }) => {
        const rows = listSnapshots.all(name, after, limit) as { readonly stream: string }[]
        return rows.map(({ stream }) => stream)
      }),
  }
}

function put(sql: Statements, { stream, name, revision, id, content }: NamedSnapshot): boolean {
  const { changes } = sql.putSnapshot.run(name, content, stream, revision, id)
  return Number(changes) === 1
}
