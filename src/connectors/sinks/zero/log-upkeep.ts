/** Forgets entries of the log that nobody needs. */
import type { UpkeepRequest, Watermark } from './log-messages.ts'
import type { LogStore } from './log-store.ts'

/** Entries that are removed in one transaction: a short one, so that nobody waits. */
const STEP_ENTRIES = 2000
/** Free pages that are given back to the file system in one step. */
const STEP_PAGES = 2000

export interface UpkeepResult {
  /** Bytes of the entries that are left. */
  readonly bytes: number
  /** Something was removed that a known subscriber did not have. */
  readonly lost: boolean
  /** There is more to remove. */
  readonly more: boolean
}

/**
 * Removes the oldest entries: those that every subscriber has once they are old enough, all that every subscriber has
 * while the log is too large, and then, if `force`, also others. The entries of the head always stay.
 */
export function keepUp(store: LogStore, head: Watermark, request: UpkeepRequest): UpkeepResult {
  const { acked, keepSinceMs, maxBytes, force } = request
  let lost = false
  let removed = 0
  for (; removed < STEP_ENTRIES; removed++) {
    const oldest = store.oldestEntry()
    if (oldest === null || oldest.watermark >= head) break
    const had = oldest.watermark < acked
    const full = store.logBytes > maxBytes
    if (!(had ? full || oldest.written < keepSinceMs : full && force)) break
    store.removeEntry(oldest.seq, oldest.size)
    lost ||= !had
  }
  store.db.exec(`PRAGMA incremental_vacuum(${STEP_PAGES})`)
  return { bytes: store.logBytes, lost, more: removed === STEP_ENTRIES }
}
