/**
 * Mappings of whatever format after reading: checked, with compiled conditions and rules, but without a source. A source
 * of documents gives no types, so every column has to have one (`compile.ts`); a source with tables of its own says
 * what is null here.
 */
import type { ColumnType } from '../column-type.ts'
import type { ColumnRule, Predicate, Unwind } from './mapping.ts'

/** Where in a document of JSON something stands: names of keys and numbers of elements, from the top. */
export type JsonPath = readonly (string | number)[]

/** One table that is to be made. */
export interface NormalizedTable {
  /** Null where the default of the pipeline is meant. */
  readonly namespace: string | null
  readonly name: string
  /** The collection or table of the source; its namespace is null where the source's own is meant. */
  readonly collection: { readonly namespace: string | null; readonly name: string }
  /** Before `unwind`; null: all. */
  readonly filter: Predicate | null
  readonly unwind: readonly Unwind[]
  /** Behind `unwind`; null: all. */
  readonly elementFilter: Predicate | null
  /** What is said of columns one by one, in the order of the table; with `rest` the others follow. */
  readonly columns: readonly NormalizedColumn[]
  /**
   * Present when the table also has every column that the source's table has, under its own name, besides those in
   * `exclude` and those that a rule in `columns` reads as they are (a rename). Never with a schema, which lists them all.
   */
  readonly rest: { readonly exclude: readonly NamedPlace[] } | null
  /** Names of columns in key order; null: the key of the source's table. */
  readonly key: readonly NamedPlace[] | null
  /** Changes when other documents or elements have rows: canonical text of collection, filter, unwind. */
  readonly rowsText: string
  readonly place: Place
}

export interface NormalizedColumn {
  readonly name: string
  readonly rule: ColumnRule
  /** Canonical text of the rule: the same for the same values. */
  readonly ruleText: string
  /** Null: as the column of the source has it, which a rule of one name reads. A cast where the source has another. */
  readonly type: ColumnType | null
  /** Null: as the column of the source has it; for a computed value, nullable. */
  readonly nullable: boolean | null
  /** The type as it was written down; empty where `type` is null. */
  readonly native: string
  readonly place: Place
}

/** A name, and where it was written. */
export interface NamedPlace {
  readonly name: string
  readonly place: Place
}

/** Which of the two documents of JSON, and where in it. */
export interface Place {
  readonly document: MappingDocument
  readonly path: JsonPath
}

export type MappingDocument = 'schema' | 'mappings'

/** All tables, in the order in which they are announced. */
export interface NormalizedMapping {
  readonly tables: readonly NormalizedTable[]
}

/** Something in one of the documents that cannot be taken as it is. */
export interface PlacedMistake extends Place {
  /** A clause without a full stop. Names of keys and columns may be in it, values never. */
  readonly reason: string
}
