import type { DifferenceKind } from './settle.ts'

/** What a comparison has found. */
export interface VerifyReport {
  readonly pipeline: string
  readonly sink: string
  /** Every row that was compared is the same on both sides, and nothing could not be compared. */
  readonly equal: boolean
  /** Whether the pipeline was running meanwhile. */
  readonly running: boolean
  /** Place in the source's log of the first state that was compared; null when nothing was. */
  readonly position: string | null
  /** Part of the key ranges that was compared, and the seed that chooses the same ones again; null for all. */
  readonly sample: { readonly fraction: number; readonly seed: number } | null
  /** Rows of the source that were compared. */
  readonly rows: number
  readonly seconds: number
  readonly tables: readonly TableReport[]
}

export interface TableReport {
  /** `namespace.name` in the source. */
  readonly table: string
  readonly equal: boolean
  /** Rows of the source that were compared. */
  readonly rows: number
  readonly ranges: { readonly compared: number; readonly of: number }
  /** Rows that the sink lacks. */
  readonly missing: number
  /** Rows of the sink that the source does not have. */
  readonly extra: number
  /** Rows with other values. */
  readonly different: number
  /** Rows that changed whenever they were looked at. */
  readonly unsettled: number
  /** Columns whose values differ, those of most rows first. */
  readonly columns: readonly string[]
  /** Why rows could not be compared: a table or a column is missing. */
  readonly problems: readonly string[]
  /** There are so many differences that the comparison of the table was ended; the counts are lower bounds. */
  readonly stopped: boolean
  /** Rows that were written again; only after a repair. */
  readonly repaired?: number
  /** Some of the differences with their values; only when asked for. */
  readonly examples?: readonly Example[]
}

export interface Example {
  readonly kind: DifferenceKind
  /** Canonical texts by column name; null is NULL. */
  readonly key: Readonly<Record<string, string | null>>
  /** The columns that differ, or all of a row that one side lacks. */
  readonly columns: readonly {
    readonly name: string
    readonly source?: string | null
    readonly sink?: string | null
  }[]
}

/** How far a comparison is. */
export interface VerifyProgress {
  readonly phase: 'comparing' | 'settling' | 'waiting' | 'repairing'
  readonly tablesDone: number
  readonly tablesTotal: number
  readonly rows: number
  /** An estimate; 0 when nothing is known. */
  readonly rowsTotal: number
}
