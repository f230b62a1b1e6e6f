/**
 * One text per value that PostgreSQL and ClickHouse both make by SQL of their own: what the pipeline decodes and encodes
 * has no part in it. The texts are equal exactly when the values are, and the ClickHouse type is the expected one.
 */

/** A column as PostgreSQL's catalog describes it. */
export interface SourceColumn {
  readonly name: string
  /** `format_type` of it, such as `numeric(12,2)`. */
  readonly type: string
  /** `pg_type.typtype`: `e` is an enum. */
  readonly kind: string
  readonly nullable: boolean
}

/** How a column is compared. The expressions give NULL for NULL. */
export interface Comparable {
  readonly name: string
  /** Type that the ClickHouse column must have, without `Nullable` and `LowCardinality`. */
  readonly target: string
  readonly postgres: string
  readonly clickhouse: string
}

interface Rule {
  readonly target: string
  /** From a column or element to text. */
  readonly postgres: (value: string) => string
  readonly clickhouse: (value: string) => string
}

const sourceText = (value: string): string => `${value}::text`
const targetText = (value: string): string => `toString(${value})`

/** Session settings that the texts of PostgreSQL depend on. */
export const postgresSettings = `SET timezone = 'UTC'; SET datestyle = 'ISO,YMD'; SET intervalstyle = 'iso_8601'; SET work_mem = '64MB'`

export function comparable(column: SourceColumn): Comparable {
  const source = quoteSource(column.name)
  const target = quoteTarget(column.name)
  const element = /^(.*)\[\]$/.exec(column.type)
  // ClickHouse arrays cannot be NULL, so nullable ones are kept as the text that PostgreSQL writes.
  if (element === null || column.nullable) {
    const rule = element === null ? ruleOf(column.type, column.kind) : plain('String')
    return {
      name: column.name,
      target: rule.target,
      postgres: rule.postgres(source),
      clickhouse: rule.clickhouse(target),
    }
  }
  const rule = ruleOf(element[1]!, 'b')
  const elements = `unnest(${source}) WITH ORDINALITY AS element(value, place)`
  return {
    name: column.name,
    target: `Array(Nullable(${rule.target}))`,
    postgres: `(SELECT coalesce(string_agg(${framed(rule.postgres('value'), 'postgres')}, '' ORDER BY place), '') FROM ${elements})`,
    clickhouse: `arrayStringConcat(arrayMap(value -> ${framed(rule.clickhouse('value'), 'clickhouse')}, ${target}))`,
  }
}

/** One checksum over the texts of all columns, in order. */
export function rowChecksum(columns: readonly Comparable[], side: 'postgres' | 'clickhouse'): string {
  const all = columns.map((column) => framed(column[side], side)).join(' || ')
  return side === 'postgres' ? `md5(${all})` : `lower(hex(MD5(${all})))`
}

export function quoteSource(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteTarget(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}

/** Length before text, and a letter for NULL: joined texts of different values are never the same. */
function framed(text: string, side: 'postgres' | 'clickhouse'): string {
  return side === 'postgres'
    ? `coalesce(octet_length(${text}) || ':' || ${text}, 'N')`
    : `ifNull(concat(toString(length(${text})), ':', ${text}), 'N')`
}

function ruleOf(type: string, kind: string): Rule {
  const [base, digits] = splitType(type)
  switch (kind === 'e' ? 'enum' : base) {
    case 'boolean':
      return plain('Bool')
    case 'smallint':
      return plain('Int16')
    case 'integer':
      return plain('Int32')
    case 'bigint':
      return plain('Int64')
    case 'uuid':
      return plain('UUID')
    case 'date':
      return plain('Date32')
    case 'numeric':
      // ClickHouse writes a Decimal without the zeros at its end.
      return digits === null
        ? plain('String')
        : { ...plain(`Decimal(${decimal(digits)})`), postgres: (value) => `trim_scale(${value})::text` }
    case 'real':
      return float(32)
    case 'double precision':
      return float(64)
    case 'timestamp without time zone':
    case 'timestamp with time zone':
      return {
        target: `DateTime64(${digits ?? '6'}, 'UTC')`,
        postgres: (value) => `(extract(epoch FROM ${value}) * 1000000)::bigint::text`,
        clickhouse: (value) => `toString(toUnixTimestamp64Micro(${value}))`,
      }
    case 'bytea':
      return {
        target: 'String',
        postgres: (value) => `encode(${value}, 'hex')`,
        clickhouse: (value) => `lower(hex(${value}))`,
      }
    default:
      return plain('String')
  }
}

function plain(target: string): Rule {
  return { target, postgres: sourceText, clickhouse: targetText }
}

/** By the bits, most significant byte first: the servers write the shortest text in different forms. */
function float(bits: 32 | 64): Rule {
  return {
    target: `Float${bits}`,
    postgres: (value) => `encode(float${bits / 8}send(${value}), 'hex')`,
    clickhouse: (value) => `lower(hex(reverse(reinterpretAsFixedString(${value}))))`,
  }
}

function decimal(digits: string): string {
  const [precision, scale = '0'] = digits.split(',')
  return `${precision}, ${scale}`
}

/** `timestamp(3) with time zone` is the type `timestamp with time zone` and the digits `3`. */
function splitType(type: string): readonly [string, string | null] {
  const parts = /^([^(]+)\(([^)]*)\)(.*)$/.exec(type)
  return parts === null ? [type, null] : [`${parts[1]!}${parts[3]!}`, parts[2]!]
}
