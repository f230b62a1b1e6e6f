/** What zero-cache asks for when it connects: the parameters of the URL. Pure. */
import { fromLexi } from './lexi-version.ts'
import type { Watermark } from './log-messages.ts'

export interface StreamRequest {
  readonly publications: readonly string[]
  /** Null: a snapshot is wanted. `unknown`: a text that is none of our watermarks. */
  readonly after: Watermark | 'unknown' | null
  readonly replicaVersion: Watermark | 'unknown' | null
}

export function readStreamRequest({ searchParams }: URL): StreamRequest {
  return {
    publications: [...new Set(searchParams.getAll('publications'))].toSorted(),
    after: watermark(searchParams.get('lastWatermark')),
    replicaVersion: watermark(searchParams.get('replicaVersion')),
  }
}

function watermark(text: string | null): Watermark | 'unknown' | null {
  if (text === null || text === '') return null
  return readWatermark(text) ?? 'unknown'
}

/** A watermark of ours; null for any other text. */
export function readWatermark(text: string): Watermark | null {
  const value = fromLexi(text)
  return value === null || value > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(value)
}
