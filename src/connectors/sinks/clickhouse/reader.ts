import type { ConnectorContext } from '../../../core/context.ts'
import { ConnectionError, CoreError } from '../../../core/error.ts'
import type { PackedRows } from '../../../core/packed-rows.ts'
import type { KeyRange, PackedKeys, RowConsumer, SinkReader, SinkTable } from '../../../core/row-reader.ts'
import type { TableSchema } from '../../../core/table.ts'
import { cellWriter } from './cell-arrays.ts'
import { type CatalogTable, readTable } from './catalog.ts'
import type { TimestampRange } from './cell-times.ts'
import { CellRefused, type CellWriter } from './cells.ts'
import { timestampRange } from './check.ts'
import type { ClickHouseConfig } from './config.ts'
import { columnId, foreignReason, literalSql, type Place, qualified, quoteName, targetName } from './ddl.ts'
import { keyFilter, keySql } from './key-sql.ts'
import { RowLayout } from './pending-rows.ts'
import { RowDecoder } from './row-decoder.ts'
import { RowWriter } from './row-writer.ts'
import { Session } from './session.ts'
import { hasNullFlag, type TargetColumn } from './target-column.ts'
import { Target } from './target.ts'
import { canHold, parseType } from './types.ts'

/** Keys that are looked up by one query, and the length of them as SQL: servers read 256 KiB by default. */
const WINDOW_KEYS = 4096
const WINDOW_SQL = 100_000

/** What a table of the source is here. */
interface Mapping {
  readonly target: Target
  readonly columns: readonly TargetColumn[]
  readonly key: readonly TargetColumn[]
}

/** Reads the current rows of target tables back, as the source has them. Changes nothing. */
export class ClickHouseReader implements SinkReader {
  readonly #session: Session
  readonly #config: ClickHouseConfig
  readonly #context: ConnectorContext
  readonly #range: TimestampRange
  readonly #place: Place
  readonly #mappings = new WeakMap<TableSchema, Mapping>()

  private constructor(
    session: Session,
    config: ClickHouseConfig,
    context: ConnectorContext,
    range: TimestampRange,
  ) {
    this.#session = session
    this.#config = config
    this.#context = context
    this.#range = range
    this.#place = { database: config.database, meta: config.metaColumns }
  }

  static async open(config: ClickHouseConfig, context: ConnectorContext): Promise<ClickHouseReader> {
    const session = new Session(config)
    try {
      return new ClickHouseReader(session, config, context, await timestampRange(session))
    } catch (error) {
      await session.close()
      throw error
    }
  }

  async describe(table: TableSchema): Promise<SinkTable> {
    const name = targetName(table, this.#config.defaultNamespace)
    const stored = await readTable(this.#session, name)
    const problems = this.#problems(table, name, stored)
    if (stored === null || problems.length > 0) return { problems, hasRanges: false, nullAs: [] }
    const target = new Target(this.#place, stored, this.#config, this.#range, 0n, undefined)
    const { columns, key } = target.encoder(table)
    const mapping = { target, columns, key: key.map((index) => columns[index]!) }
    this.#mappings.set(table, mapping)
    return {
      problems,
      hasRanges: keepsOrder(mapping.key[0]!),
      nullAs: columns.map(({ onNull }) => (onNull === 'empty' ? '{}' : null)),
    }
  }

  async scan(table: TableSchema, range: KeyRange, out: RowConsumer): Promise<void> {
    const mapping = await this.#mapping(table)
    const [first] = mapping.key
    const name = quoteName(first!.name)
    const bound = (text: string): string => literalSql(first!.source.type, text, first!.type)
    const conditions = [
      ...(range.from === null ? [] : [`${name} >= ${bound(range.from)}`]),
      ...(range.to === null ? [] : [`${name} < ${bound(range.to)}`]),
    ]
    await this.#select(mapping, conditions.length === 0 ? '' : ` PREWHERE ${conditions.join(' AND ')}`, out)
  }

  async find(table: TableSchema, keys: PackedKeys, out: RowConsumer): Promise<void> {
    const mapping = await this.#mapping(table)
    for (const { sql } of this.#windows(mapping, keys))
      await this.#select(mapping, ` PREWHERE ${keyFilter(mapping.key, sql)}`, out)
  }

  /** The newest version under each key, that of a deleted row too. */
  async stamps(table: TableSchema, keys: PackedKeys): Promise<readonly string[]> {
    const { target, key } = await this.#mapping(table)
    const layout = new RowLayout(key, [...key.keys()])
    const names = key.map((column) => quoteName(column.name)).join(', ')
    const from = qualified(target.place, target.name)
    const stamps = new Map<string, string>()
    const asked = new Map<number, string>()
    for (const { sql, rows } of this.#windows({ target, key, columns: key }, keys)) {
      for (const [row, bytes] of rows) asked.set(row, bytes)
      const query = `SELECT ${names}, max(${quoteName(target.place.meta.version)}) FROM ${from} WHERE ${keyFilter(key, sql)} GROUP BY ${names} FORMAT RowBinary`
      const answer = await this.#reading(() =>
        this.#session.read(query, `read versions of ${target.label}`, Number.POSITIVE_INFINITY),
      )
      for (let at = 0; at < answer!.length;) {
        const { cells, end } = layout.cells(answer!, at)
        stamps.set(layout.keyOf(cells), answer!.readBigUInt64LE(end).toString())
        at = end + 8
      }
    }
    return Array.from({ length: keys.rowCount }, (_, row) => stamps.get(asked.get(row) ?? '') ?? '')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close()
  }

  async #mapping(table: TableSchema): Promise<Mapping> {
    const known = this.#mappings.get(table)
    if (known !== undefined) return known
    await this.describe(table)
    const mapping = this.#mappings.get(table)
    if (mapping === undefined) throw changedMeanwhile()
    return mapping
  }

  #problems(table: TableSchema, name: string, stored: CatalogTable | null): readonly string[] {
    const label = `${this.#config.database}.${name}`
    if (stored === null) return [`the table ${label} does not exist`]
    const foreign = foreignReason(stored, this.#place, this.#context.pipeline, table)
    if (foreign !== null) return [`the table ${label} ${foreign}`]
    const byId = new Map(stored.columns.map((column) => [columnId(column.comment), column]))
    const wrong = table.columns.flatMap((column) => {
      const found = byId.get(column.id)
      if (found === undefined) return [`column "${column.name}" is missing in ${label}`]
      const physical = parseType(found.type)
      if (physical !== null && canHold(column.type, physical)) return []
      return [`column "${column.name}" has the type ${found.type} in ${label}`]
    })
    const key = table.key.map((index) => byId.get(table.columns[index]!.id)?.name)
    if (wrong.length > 0 || key.join('\n') === stored.sortingKey.join('\n')) return wrong
    return [`the table ${label} is sorted by another key`]
  }

  async #select({ target, columns }: Mapping, where: string, out: RowConsumer): Promise<void> {
    const names = columns.map((column) => quoteName(column.name)).join(', ')
    const sql = `SELECT ${names} FROM ${qualified(target.place, target.name)} FINAL${where} FORMAT RowBinary`
    const decoder = new RowDecoder(columns, out)
    await this.#reading(async () => {
      for await (const chunk of this.#session.stream(sql, `read ${target.label}`)) await decoder.take(chunk)
      if (await decoder.end()) return
      // An error of the server in the middle of the result cuts it off.
      throw new ConnectionError('clickhouse/connection', `read ${target.label} failed: the answer is cut`, {
        fix: 'Nothing, unless it lasts: it is read again.',
      })
    })
  }

  /** What the table looks like may change while it is read. */
  async #reading<A>(read: () => Promise<A>): Promise<A> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof CoreError && /\/(?:target-changed|table-missing)$/.test(error.code))
        throw changedMeanwhile(error)
      throw error
    }
  }

  /** Keys by the query that looks them up. One that the target cannot hold is not in it. */
  *#windows(
    { key }: Mapping,
    keys: PackedKeys,
  ): Generator<{ readonly sql: readonly string[]; readonly rows: ReadonlyMap<number, string> }> {
    const writers = key.map(({ source, physical }) => cellWriter(source.type, physical, this.#range))
    const scratch = new RowWriter(128)
    let sql: string[] = []
    let rows = new Map<number, string>()
    let length = 0
    for (let row = 0; row < keys.rowCount; row++) {
      const cells = key.map((_, index) => (keys.newImage[row]! + index) * 2)
      const bytes = keyBytes(key, writers, keys, cells, scratch)
      if (bytes === null) continue
      const text = keySql(key, keys, cells)
      sql.push(text)
      rows.set(row, bytes)
      length += text.length
      if (sql.length < WINDOW_KEYS && length < WINDOW_SQL) continue
      yield { sql, rows }
      sql = []
      rows = new Map()
      length = 0
    }
    if (sql.length > 0) yield { sql, rows }
  }
}

/** The key as a string of its RowBinary bytes; null when the target cannot hold it. */
function keyBytes(
  key: readonly TargetColumn[],
  writers: readonly CellWriter[],
  rows: PackedRows,
  cells: readonly number[],
  out: RowWriter,
): string | null {
  out.at = 0
  try {
    for (const [index, cell] of cells.entries()) {
      out.reserve(0)
      if (hasNullFlag(key[index]!)) out.bytes[out.at++] = 0
      writers[index]!(rows.arena, rows.cells[cell]!, rows.cells[cell + 1]!, out)
    }
  } catch (error) {
    if (error instanceof CellRefused) return null
    throw error
  }
  return out.bytes.latin1Slice(0, out.at)
}

/** Whether ClickHouse sorts the column as its source does. A UUID it sorts by its second half first. */
function keepsOrder({ source, physical }: TargetColumn): boolean {
  if (physical.kind === 'array') return false
  switch (physical.scalar.kind) {
    case 'int':
      return source.type.kind === 'int'
    case 'datetime64':
    case 'date32':
      return true
    case 'string':
      return source.type.kind === 'text'
    case 'bool':
    case 'float':
    case 'decimal':
    case 'uuid':
      return false
  }
}

function changedMeanwhile(cause?: CoreError): ConnectionError {
  return new ConnectionError('clickhouse/table-changed', 'a table was changed while it was read', {
    fix: 'Nothing: it is read again.',
    cause,
  })
}
