import { tailLog, type LogSource } from '../../adapter/subscription-hub.ts'
import type { LogFilter, StoreAdapter } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import { CatchUp } from './catch-up.ts'
import { LiveFeed } from './live-feed.ts'
import type { Places } from './locate.ts'
import type { Reader } from './read.ts'

/**
 * Subscriptions to the log. Whoever is behind looks through it; those that have caught up share a subscription of the
 * server's, one for each way in which the server filters, however many they are.
 */
export function subscriptionsTo(calls: Calls, reader: Reader, places: Places): StoreAdapter['subscribe'] {
  const catchUp = new CatchUp(calls, reader, places)
  const feeds = new Set<LiveFeed>()
  const source: LogSource = {
    async *scan(request, signal) {
      for (const feed of feeds) {
        const pages = feed.take(request)
        if (!pages) continue
        yield* pages
        return
      }
      yield* catchUp.scan(request, signal)
    },
    watch(changed, wanted) {
      if (!calls.canFollow) return poll(changed)
      const feed = new LiveFeed(calls, places, wanted, changed)
      feeds.add(feed)
      return () => {
        feeds.delete(feed)
        feed.close()
      }
    },
  }
  const tails = { streams: tailLog(source), types: tailLog(source), none: tailLog(source) }
  return (request) => tails[kindOf(request)](request)
}

/** By what the server filters. */
function kindOf({ streams, categories, types }: LogFilter): 'streams' | 'types' | 'none' {
  return (streams ?? categories) ? 'streams' : types ? 'types' : 'none'
}

/** Where the driver has no subscriptions that could be used. */
function poll(changed: () => void): () => void {
  const timer = setInterval(changed, POLL)
  return () => {
    clearInterval(timer)
  }
}

/** Milliseconds. */
const POLL = 500
