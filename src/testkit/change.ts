/**
 * What the kit does to a source's database, in words that every database understands. A harness turns them into its
 * own language.
 */
export type KitType =
  /** Integers within 32 bits. */
  | 'int'
  /** Integers within 64 bits. */
  | 'bigint'
  | 'text'
  /**
   * Text that the database stores so that an update of other columns leaves it out of the log, where there is such a
   * thing (TOAST); plain text elsewhere.
   */
  | 'large-text'

export interface KitColumn {
  readonly name: string
  readonly type: KitType
}

/** A whole number within 2^53, a bigint, a text or NULL. */
export type KitValue = number | bigint | string | null
export type KitRow = Readonly<Record<string, KitValue>>

/** One statement. Names are plain: lower case letters, digits and `_`; laws about hostile names say so. */
export type KitChange =
  /** The key is not null; other columns may be NULL. */
  | {
      readonly kind: 'create-table'
      readonly table: string
      readonly columns: readonly KitColumn[]
      readonly key: readonly string[]
    }
  | { readonly kind: 'drop-table'; readonly table: string }
  | { readonly kind: 'insert'; readonly table: string; readonly row: KitRow }
  /**
   * `key` names one row by its key columns; `set` leaves all other columns alone and may change the key. Nothing happens
   * when there is no such row.
   */
  | { readonly kind: 'update'; readonly table: string; readonly key: KitRow; readonly set: KitRow }
  /** Nothing happens when there is no such row. */
  | { readonly kind: 'delete'; readonly table: string; readonly key: KitRow }
  | { readonly kind: 'truncate'; readonly table: string }
  /** Rows that are there show the default when there is one, NULL otherwise. */
  | {
      readonly kind: 'add-column'
      readonly table: string
      readonly column: KitColumn
      readonly default?: KitValue
    }
  | { readonly kind: 'drop-column'; readonly table: string; readonly column: string }
  | { readonly kind: 'rename-column'; readonly table: string; readonly from: string; readonly to: string }
  /** From `int` to `bigint`, or from any type to `text`. */
  | {
      readonly kind: 'alter-column'
      readonly table: string
      readonly column: string
      readonly type: 'bigint' | 'text'
    }
  | { readonly kind: 'change-key'; readonly table: string; readonly key: readonly string[] }

/**
 * Cells by column name in canonical text (`core/canonical.ts`): `bytes` as `\x` and hex digits, null for NULL. The
 * common tongue of oracles and mirrors.
 */
export type TextRow = Readonly<Record<string, string | null>>
