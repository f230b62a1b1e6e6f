/** Types of rows that follow from the type of a schema. Nothing here is left when the program runs. */

/** The value that a row has for a column of a type that is written so; see `canonical.ts`. */
export type ValueOfType<Name extends string> = Name extends `${infer Plain}?`
  ? ValueOfType<Plain> | null
  : Name extends `array of ${infer Element}`
    ? readonly ElementOf<Element>[]
    : Name extends keyof Values
      ? Values[Name]
      : Name extends `decimal(${number},${number})` | `time(${number})${Zone}` | `timestamp(${number})${Zone}`
        ? string
        : never

/** Elements of arrays may be NULL whatever the column says. */
type ElementOf<Name extends string> = Name extends `array of ${infer Inner}`
  ? readonly ElementOf<Inner>[]
  : ValueOfType<Name> | null

type Zone = '' | ' with time zone'

interface Values {
  readonly bool: boolean
  readonly int8: number
  readonly int16: number
  readonly int32: number
  readonly int64: bigint
  readonly uint8: number
  readonly uint16: number
  readonly uint32: number
  readonly uint64: bigint
  readonly float32: number
  readonly float64: number
  readonly decimal: string
  readonly text: string
  readonly enum: string
  readonly uuid: string
  readonly json: string
  readonly bytes: Uint8Array
  readonly date: string
  readonly interval: string
  // Of earlier schemas and of Zero, where a date is a moment.
  readonly string: string
  readonly number: number
  readonly boolean: boolean
  readonly null: null
}

/** A column as any of the formats with tables by name has it. */
export type ColumnInput =
  | string
  | {
      readonly type: string
      readonly nullable?: boolean | undefined
      readonly optional?: boolean | undefined
      readonly notNull?: boolean | undefined
      readonly serverName?: string | undefined
      readonly customType?: unknown
    }

export interface TableInput {
  readonly columns: Readonly<Record<string, ColumnInput>>
  readonly key?: readonly string[]
  readonly primaryKey?: readonly string[]
  readonly name?: string
  readonly serverName?: string | undefined
  readonly tableName?: string
}

type Tables = Readonly<Record<string, TableInput>>

/** The formats that have tables by name; a list of table specs has none for the compiler. */
export type SchemaInput = { readonly tables: Tables } | Tables

type TablesOf<Schema> = Schema extends { readonly tables: infer Inner extends Tables }
  ? Inner
  : Schema extends Tables
    ? Schema
    : never

export type TableName<Schema> = keyof TablesOf<Schema> & string

type ColumnsOf<Schema, Name extends TableName<Schema>> = TablesOf<Schema>[Name]['columns']

type NameOf<Key, Column> = Column extends { readonly serverName: infer Own extends string } ? Own : Key

export type ColumnName<Schema, Name extends TableName<Schema>> = {
  [Key in keyof ColumnsOf<Schema, Name>]: NameOf<Key, ColumnsOf<Schema, Name>[Key]>
}[keyof ColumnsOf<Schema, Name>] &
  string

type KeyOf<Table> = Table extends { readonly key: readonly (infer Key)[] }
  ? Key
  : Table extends { readonly primaryKey: readonly (infer Key)[] }
    ? Key
    : '_id'

/** Only this format means NULL by saying nothing. */
type MeansNull<Table> = Table extends { readonly name: string } | { readonly tableName: string }
  ? false
  : Table extends { readonly key: readonly string[] }
    ? false
    : true

type CellOf<Table, Key, Column> = Column extends string
  ? ValueOfType<Column>
  : Column extends { readonly type: infer Type extends string }
    ? ValueOrDate<Type> | NullOf<Table, Key, Column>
    : never

type ValueOrDate<Type extends string> = Type extends 'date' ? string : ValueOfType<Type>

type NullOf<Table, Key, Column> =
  Key extends KeyOf<Table>
    ? never
    : Column extends { readonly nullable: true } | { readonly optional: true }
      ? null
      : Column extends
            | { readonly nullable: false }
            | { readonly optional: false }
            | { readonly notNull: true }
        ? never
        : MeansNull<Table> extends true
          ? null
          : never

/**
 * A row of a table as `RowView.toObject` gives it, when all of it is there.
 *
 * ```ts
 * const schema = defineSchema({ tables: { orders: { columns: { id: 'int64', note: 'text?' }, key: ['id'] } } })
 * type Order = RowOf<typeof schema, 'orders'> // { readonly id: bigint; readonly note: string | null }
 * ```
 */
export type RowOf<Schema, Name extends TableName<Schema>> = {
  readonly [
    Key in keyof ColumnsOf<Schema, Name> as NameOf<Key, ColumnsOf<Schema, Name>[Key]> & string
  ]: CellOf<TablesOf<Schema>[Name], Key, ColumnsOf<Schema, Name>[Key]>
}
