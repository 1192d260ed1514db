import { InvalidArgumentError, StoreBusyError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import { CommitSignal, RecentEvents } from './subscribe.ts'
import { type Connection, openConnection, realFile } from './connection.ts'
import { MEMORY, type OpenSettings } from './options.ts'
import { WriteTurns } from './write-turns.ts'
import { WriteQueue } from './write-queue.ts'

/** A file that is open in this process: one connection and one write queue for all stores on it. */
export interface SharedFile {
  readonly connection: Connection
  readonly queue: WriteQueue
  /** Tells of commits. */
  readonly signal: CommitSignal
  /** The latest events that this process has appended. */
  readonly recent: RecentEvents
  /** Erasures whose bytes are still in the write-ahead log, with the positions of the events that tell of them. */
  readonly unfinished: Map<string, Position>
  /** Called by each store that closes; the last call closes the file. */
  release(): Promise<void>
}

/**
 * Opens a file, or shares it if this process has it open already. Each `:memory:` is a database of its own.
 *
 * @throws OpenError, StoreBusyError; InvalidArgumentError if it is open with other settings.
 */
export async function openShared(location: string, settings: OpenSettings): Promise<SharedFile> {
  if (location === MEMORY) return fileOf(await openConnection(MEMORY, settings), undefined, () => true)
  const path = realFile(location)
  let entry = open.get(path)
  if (entry && (await isStale(entry))) {
    // Its stores keep the old connection until they are closed.
    if (open.get(path) === entry) open.delete(path)
    entry = open.get(path)
  }
  if (entry) {
    checkSettings(entry.settings, settings)
    entry.users++
  } else {
    entry = { settings, users: 1, file: undefined }
    open.set(path, entry)
    entry.file = openFile(path, entry)
    const opened = entry
    // A failure is not remembered: the next attempt opens anew.
    entry.file.catch(() => {
      forget(path, opened)
    })
  }
  try {
    return await entry.file!
  } catch (error) {
    // The store that opened it first may have had a shorter `busyTimeout`.
    const mayWaitLonger = settings.busyTimeout > entry.settings.busyTimeout
    if (error instanceof StoreBusyError && mayWaitLonger) return openShared(location, settings)
    throw error
  }
}

interface Entry {
  readonly settings: OpenSettings
  users: number
  file: Promise<SharedFile> | undefined
}

/** The files that this process has open, by their real paths. */
const open = new Map<string, Entry>()

function forget(path: string, entry: Entry): void {
  if (open.get(path) === entry) open.delete(path)
}

/** Whether its file was removed, replaced or restored under it, so that the path is to be opened anew. */
async function isStale({ file }: Entry): Promise<boolean> {
  const opened = await file?.catch(() => undefined)
  try {
    opened?.connection.history.ensureFile()
    return false
  } catch {
    return true
  }
}

async function openFile(path: string, entry: Entry): Promise<SharedFile> {
  const connection = await openConnection(path, entry.settings)
  return fileOf(connection, path, () => {
    if (--entry.users > 0) return false
    forget(path, entry)
    return true
  })
}

/**
 * Everything that belongs to an open file.
 *
 * @param path of the file; `undefined` if no other process can have it open.
 * @param isLast called by each store that closes; whether it was the last one.
 */
export function fileOf(connection: Connection, path: string | undefined, isLast: () => boolean): SharedFile {
  const turns = new WriteTurns(path === undefined ? undefined : `${path}-turn`)
  const signal = new CommitSignal(connection, path === undefined ? undefined : `${path}-signal`)
  const recent = new RecentEvents()
  const queue = new WriteQueue(connection, turns, signal, recent)
  return {
    connection,
    queue,
    signal,
    recent,
    unfinished: new Map(),
    release: async () => {
      // The work of this store is done; that of other stores need not be waited for.
      if (!isLast()) return
      await queue.idle()
      turns.close()
      signal.close()
      connection.close()
    },
  }
}

function checkSettings(first: OpenSettings, now: OpenSettings): void {
  for (const name of ['driver', 'synchronous'] as const) {
    if (first[name] === now[name]) continue
    throw new InvalidArgumentError(`options.${name}`, 'the same for all stores of a process on one file')
  }
}
