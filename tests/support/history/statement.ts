/**
 * What a history does to a database, and the values that it uses. Knows nothing of Sluice: cells are plain text, one
 * form per kind, that every server can be asked for.
 *
 * | kind | form |
 * |---|---|
 * | int, bigint | decimal digits |
 * | decimal | three digits after the point |
 * | text, large | as it is; large values are stored out of line |
 * | bool | `true` or `false` |
 * | timestamp | `YYYY-MM-DD HH:MM:SS.ffffff+00` |
 * | bytes | `\\x` and hexadecimal digits |
 */
export type Kind = 'int' | 'bigint' | 'decimal' | 'text' | 'large' | 'bool' | 'timestamp' | 'bytes'

/** Null is NULL. */
export type Cell = string | null

/** Cells by column name. */
export type Row = Readonly<Record<string, Cell>>

/** Rows are named by a number and a code; the key of a table is one of them or both. */
export type Part = 'id' | 'code'

export interface HistoryColumn {
  readonly name: string
  readonly kind: Kind
  /** NOT NULL. */
  readonly required: boolean
  /** Set when the column holds a part of the row's name, whatever the column is called by now. */
  readonly part: Part | null
}

/** One statement that is known to succeed. */
export type Statement =
  | {
      readonly does: 'create table'
      readonly table: string
      readonly columns: readonly HistoryColumn[]
      readonly key: readonly string[]
    }
  | { readonly does: 'drop table'; readonly table: string }
  /** Rows that are there show `value`. */
  | {
      readonly does: 'add column'
      readonly table: string
      readonly column: HistoryColumn
      readonly value: Cell
    }
  | { readonly does: 'drop column'; readonly table: string; readonly column: string }
  | { readonly does: 'rename column'; readonly table: string; readonly from: string; readonly to: string }
  | {
      readonly does: 'retype column'
      readonly table: string
      readonly column: string
      readonly from: Kind
      readonly to: Kind
    }
  | { readonly does: 'allow null'; readonly table: string; readonly column: string }
  | { readonly does: 'change key'; readonly table: string; readonly key: readonly string[] }
  | { readonly does: 'truncate'; readonly table: string }
  /** The row is complete. */
  | { readonly does: 'insert'; readonly table: string; readonly row: Row }
  /** Columns that `set` leaves out are left alone; it may change the key. */
  | { readonly does: 'update'; readonly table: string; readonly key: Row; readonly set: Row }
  | { readonly does: 'update all'; readonly table: string; readonly set: Row }
  | { readonly does: 'delete'; readonly table: string; readonly key: Row }

const SAMPLES: Readonly<Record<Kind, readonly string[]>> = {
  int: ['0', '1', '-1', '2147483647', '-2147483648', '42'],
  bigint: ['0', '7', '9007199254740993', '-9223372036854775808', '9223372036854775807'],
  decimal: ['0.000', '1.500', '-0.001', '999999999.999', '-120.030'],
  text: ['', 'a', 'NULL', `it's "so"\\`, 'ä😀\t\n|,{}', ' blank ', '0'],
  // Long enough to be stored out of line, and so to be left out of updates that do not touch it.
  large: ['l'.repeat(2500), 'ä😀'.repeat(800), `\\"'`.repeat(8000)],
  bool: ['false', 'true'],
  timestamp: [
    '1970-01-01 00:00:00.000000+00',
    '2024-02-29 23:59:59.999999+00',
    '1999-12-31 12:00:00.000001+00',
    '2200-06-01 05:06:07.080000+00',
  ],
  bytes: ['\\x', '\\x00ff', '\\x5c27220a', '\\xdeadbeef'],
}

/** The value of a kind that a small number stands for. 0 is NULL, which becomes a value where it is not allowed. */
export function sample({ kind, required }: Pick<HistoryColumn, 'kind' | 'required'>, number: number): Cell {
  if (number === 0 && !required) return null
  const samples = SAMPLES[kind]
  return samples[Math.max(0, number - 1) % samples.length]!
}

/**
 * What a change of type makes of a value; null when this change is not part of histories. Some changes keep the
 * type and change the values.
 */
export function conversion(from: Kind, to: Kind): ((value: string) => string) | null {
  switch (`${from} to ${to}`) {
    case 'int to bigint':
    case 'bigint to int':
    case 'int to text':
    case 'bigint to text':
    case 'decimal to text':
    case 'bool to text':
      return (value) => value
    case 'int to int':
      return (value) => String(-1 - Number(value))
    case 'text to text':
      return (value) => `was ${value}`
    case 'text to int':
      return (value) => String(Array.from(value).length)
    default:
      return null
  }
}

/** True when the new type can hold the value that the conversion makes. */
export function fits(kind: Kind, value: string): boolean {
  return kind !== 'int' || (BigInt(value) >= -2147483648n && BigInt(value) <= 2147483647n)
}

/** For people who read a counterexample: as SQL would say it, long values cut. */
export function describeStatement(statement: Statement): string {
  const { table } = statement
  switch (statement.does) {
    case 'create table':
      return `create table ${table} (${statement.columns.map(describeColumn).join(', ')}, key (${statement.key.join(', ')}))`
    case 'drop table':
    case 'truncate':
      return `${statement.does} ${table}`
    case 'add column':
      return `${table}: add column ${describeColumn(statement.column)} default ${describeCell(statement.value)}`
    case 'drop column':
    case 'allow null':
      return `${table}: ${statement.does} ${statement.column}`
    case 'rename column':
      return `${table}: rename column ${statement.from} to ${statement.to}`
    case 'retype column':
      return `${table}: column ${statement.column} from ${statement.from} to ${statement.to}`
    case 'change key':
      return `${table}: key (${statement.key.join(', ')})`
    case 'insert':
      return `insert into ${table} ${describeRow(statement.row)}`
    case 'update':
      return `update ${table} ${describeRow(statement.key)} set ${describeRow(statement.set)}`
    case 'update all':
      return `update ${table}, all rows, set ${describeRow(statement.set)}`
    case 'delete':
      return `delete from ${table} ${describeRow(statement.key)}`
  }
}

export function describeCell(cell: Cell | undefined): string {
  if (cell === undefined) return 'absent'
  if (cell === null) return 'NULL'
  const text = JSON.stringify(cell)
  return text.length <= 40 ? text : `${text.slice(0, 20)}..." (${cell.length} characters)`
}

export function describeRow(row: Row): string {
  return `{${Object.entries(row)
    .map(([name, cell]) => `${name}: ${describeCell(cell)}`)
    .join(', ')}}`
}

function describeColumn({ name, kind, required }: HistoryColumn): string {
  return `${name} ${kind}${required ? ' not null' : ''}`
}
