/** Mappings of documents (or rows) to tables as they are once everything is checked and compiled: what sources act on. */
import type { TableSchema } from '../table.ts'
import type { DocumentValue, LazyDocument } from './value.ts'

/** Names of fields from the top; a field's own name may hold points. */
export type Path = readonly string[]

/** A condition on a document, compiled. */
export interface Predicate {
  /** Everything that it reads. */
  readonly paths: readonly Path[]
  test(document: LazyDocument): boolean
}

/** A computed value, compiled. */
export interface Expression {
  readonly paths: readonly Path[]
  /** `undefined`: the value is missing. Throws `PoisonRecordError` for what cannot be computed. */
  evaluate(document: LazyDocument): DocumentValue | undefined
}

/** Where the value of a column comes from. */
export type ColumnRule =
  /** The value at the path; through an array, the array of what is there. */
  | { readonly kind: 'path'; readonly path: Path }
  | { readonly kind: 'expression'; readonly expression: Expression }

/** One row per element of an array. Rules and the filter behind it see the element in the place of the array. */
export interface Unwind {
  readonly path: Path
  /** Name of a field that rules see as the number of the element, from 0; null when nobody asks for it. */
  readonly indexField: string | null
  /** A document whose array is missing, null or empty has one row then, without the element. */
  readonly keepsEmpty: boolean
}

/** One table that is made from a collection. */
export interface TableMapping {
  /** What sinks see. One column per rule; there is a key. */
  readonly table: TableSchema
  /** Name of the collection (or table) in the source; the database is null where the source's own is meant. */
  readonly collection: { readonly namespace: string | null; readonly name: string }
  readonly columns: readonly ColumnRule[]
  /** Which documents have rows; null: all. Before `unwind`. */
  readonly filter: Predicate | null
  /** From the outside to the inside; empty for one row per document. */
  readonly unwind: readonly Unwind[]
  /** Which elements have rows, seen as rules see them; null: all. Only with `unwind`. */
  readonly elementFilter: Predicate | null
  /**
   * Changes when other documents or elements have rows: collection, filter, unwind. What a column holds is in
   * `columnFingerprints`; names and the order of columns are in neither.
   */
  readonly fingerprint: string
  /** By column id: change with the rule or the type of the column. */
  readonly columnFingerprints: Readonly<Record<string, string>>
}

/** All tables of a pipeline. Every collection may feed several tables. */
export interface DocumentMapping {
  readonly tables: readonly TableMapping[]
  /** Lets a changed mapping drop what an earlier one had, see `mapping.breaking` in the config. */
  readonly allowsBreaking: boolean
}
