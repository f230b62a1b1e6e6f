/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/**
 * A place in a source's log at which reading may resume: a commit boundary, a finished part of the first copy, or a
 * heartbeat (law L2). `order` compares as the log does (plain string comparison); `resume` is read by its own source
 * only. Core knows no LSN, GTID or resume token.
 */
export interface SourcePosition {
  readonly order: string
  readonly resume: Json
  /**
   * What is up to here is no state that the source ever had: a copy goes on, or the log has still to reach the place
   * that a copy was taken at. Left out otherwise. A sink that shows only whole states waits for a position without it.
   */
  readonly partial?: true | undefined
}

/** Negative when `a` is earlier in the log than `b`, zero when equal. */
export function comparePositions(a: SourcePosition, b: SourcePosition): number {
  return a.order < b.order ? -1 : a.order > b.order ? 1 : 0
}

/** The earlier of two positions; null (nothing yet) is earlier than everything. */
export function earlier(a: SourcePosition | null, b: SourcePosition | null): SourcePosition | null {
  if (a === null || b === null) return null
  return comparePositions(a, b) <= 0 ? a : b
}
