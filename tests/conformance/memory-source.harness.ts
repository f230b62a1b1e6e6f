import { capabilitiesOf, type MemoryConfig } from '../../src/connectors/sources/memory/config.ts'
import { MemoryDatabase } from '../../src/connectors/sources/memory/database.ts'
import { positionOf } from '../../src/connectors/sources/memory/records.ts'
import { MemorySource } from '../../src/connectors/sources/memory/source.ts'
import { type Value, valueToText } from '../../src/core/canonical.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import { type Column, type SchemaOperation, type TableSchema, tableName } from '../../src/core/table.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import type { KitChange, KitColumn, KitType, TextRow } from '../../src/testkit/change.ts'
import type { SourceBench, SourceHarness, TypeSamples } from '../../src/testkit/source/harness.ts'

const IN_PROCESS = 'The database is in this process: there is no link to it, and nobody logs in.'

function config(database: string): MemoryConfig {
  return { database, partialUpdates: true, heartbeat: 5 }
}

let benches = 0

export const memoryHarness: SourceHarness = {
  capabilities: capabilitiesOf(config('any')),
  waivers: {
    'unread-rows-stay-on-the-server': IN_PROCESS,
    'cut-link-is-retryable': IN_PROCESS,
    'unreachable-is-retryable': IN_PROCESS,
    'wrong-password-is-auth-error': IN_PROCESS,
  },
  async open() {
    return new MemoryBench(`conformance-${++benches}`)
  },
}

class MemoryBench implements SourceBench {
  readonly pipeline: string
  readonly tables = ['public.*']
  readonly secrets: readonly string[] = []
  readonly types: TypeSamples
  readonly #database: MemoryDatabase

  constructor(name: string) {
    this.pipeline = name
    this.#database = MemoryDatabase.named(name)
    this.types = typeSamples(this.#database)
  }

  create(): MemorySource {
    return new MemorySource(config(this.pipeline))
  }

  nameOf(table: string): string {
    return `public.${table}`
  }

  async apply(changes: readonly KitChange[]): Promise<void> {
    this.#database.transaction(() => {
      for (const change of changes) this.#apply(change)
    })
  }

  async objects(): Promise<readonly string[]> {
    return []
  }

  async rows(table: string): Promise<readonly TextRow[]> {
    const name = this.nameOf(table)
    return this.#database.rows(name).map((row) => textOf(this.#schema(name), row))
  }

  async connections(): Promise<number> {
    return this.#database.waiting
  }

  async released(): Promise<string | null> {
    const { forgotten } = this.#database
    return forgotten === 0 ? null : positionOf(forgotten).order
  }

  async unrelated(): Promise<void> {
    const name = 'elsewhere.t'
    if (!this.#database.schemas().some((table) => tableName(table) === name))
      this.#database.createTable(schemaOf('elsewhere', 't', [{ name: 'id', type: 'int' }], ['id']))
    this.#database.insert(name, { id: this.#database.head })
  }

  async loseHistory(): Promise<void> {
    this.#database.forget(this.#database.head)
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #apply(change: KitChange): void {
    const database = this.#database
    const name = this.nameOf(change.table)
    switch (change.kind) {
      case 'create-table':
        return database.createTable(schemaOf('public', change.table, change.columns, change.key))
      case 'insert':
        return database.insert(name, change.row)
      case 'update':
        return database.update(name, change.key, change.set)
      case 'delete':
        return database.delete(name, change.key)
      case 'drop-table':
        return database.dropTable(name)
      case 'truncate':
        return database.truncate(name)
      case 'add-column':
      case 'drop-column':
      case 'rename-column':
      case 'alter-column':
      case 'change-key':
        return this.#alter(name, change)
    }
  }

  #alter(name: string, change: KitChange): void {
    const before = this.#schema(name)
    const { columns } = before
    const find = (column: string): Column => columns.find((candidate) => candidate.name === column)!
    const replaced = (from: Column, to: Column): readonly Column[] =>
      columns.map((column) => (column === from ? to : column))
    const alter = (after: readonly Column[], operation: SchemaOperation): void => {
      const key = before.key.map((index) => after.findIndex(({ id }) => id === columns[index]!.id))
      this.#database.alterTable({ ...before, columns: after, key, version: before.version + 1 }, operation)
    }
    switch (change.kind) {
      case 'add-column': {
        const id = String(before.version * 100 + columns.length + 1)
        const bare = { ...columnOf(change.column, id), nullable: true }
        const filled = change.default === undefined || change.default === null
        const column = filled ? bare : { ...bare, addedDefault: String(change.default) }
        return alter([...columns, column], { kind: 'add-column', column })
      }
      case 'drop-column': {
        const column = find(change.column)
        return alter(
          columns.filter((other) => other !== column),
          { kind: 'drop-column', column },
        )
      }
      case 'rename-column': {
        const from = find(change.from)
        const to = { ...from, name: change.to }
        return alter(replaced(from, to), { kind: 'rename-column', from, to })
      }
      case 'alter-column': {
        const from = find(change.column)
        const to = { ...from, type: typeOf(change.type) }
        return alter(replaced(from, to), { kind: 'alter-column', from, to })
      }
      default:
        throw new Error(`the memory database cannot ${change.kind}`)
    }
  }

  #schema(name: string): TableSchema {
    return this.#database.schemas().find((table) => tableName(table) === name)!
  }
}

function schemaOf(
  namespace: string,
  name: string,
  columns: readonly KitColumn[],
  key: readonly string[],
): TableSchema {
  return {
    namespace,
    name,
    columns: columns.map((column, index) => ({
      ...columnOf(column, String(index + 1)),
      nullable: !key.includes(column.name),
    })),
    key: key.map((column) => columns.findIndex(({ name: candidate }) => candidate === column)),
    version: 1,
  }
}

function columnOf({ name, type }: KitColumn, id: string): Column {
  return { id, name, type: typeOf(type), nullable: true, native: type }
}

function typeOf(type: KitType): ColumnType {
  if (type === 'int') return { kind: 'int', bits: 32, unsigned: false }
  return type === 'bigint' ? { kind: 'int', bits: 64, unsigned: false } : { kind: 'text' }
}

function textOf({ columns }: TableSchema, row: ValueRow): TextRow {
  return Object.fromEntries(
    columns.map(({ name, type }) => {
      const value = row[name] ?? null
      return [name, value === null ? null : valueToText(type, value)]
    }),
  )
}

const TYPES: readonly (readonly [type: ColumnType, values: readonly Value[]])[] = [
  [{ kind: 'bool' }, [true, false]],
  [{ kind: 'int', bits: 16, unsigned: true }, [0, 65_535]],
  [{ kind: 'int', bits: 64, unsigned: false }, [-(2n ** 63n), 2n ** 63n - 1n]],
  [{ kind: 'float', bits: 64 }, [0.1, -0, Number.NaN, Number.POSITIVE_INFINITY, 5e-324]],
  [{ kind: 'decimal', precision: null, scale: null }, ['-0.00', '123456789012345678901234567890.1']],
  [{ kind: 'text' }, ['', 'NULL', '\\N \t\n🐘']],
  [{ kind: 'enum' }, ['sad']],
  [{ kind: 'uuid' }, ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  [{ kind: 'json' }, ['{"a": [1, null]}']],
  [{ kind: 'bytes' }, [new Uint8Array(), Uint8Array.from({ length: 256 }, (_, index) => index)]],
  [{ kind: 'date' }, ['2024-02-29', 'infinity']],
  [{ kind: 'time', digits: 6, zoned: true }, ['24:00:00+05:30']],
  [{ kind: 'timestamp', digits: 6, zoned: true }, ['2024-02-29 12:34:56.789012+00']],
  [{ kind: 'interval' }, ['P1Y2M-3DT4H5M6.7S']],
  [{ kind: 'array', of: { kind: 'text' }, dimensions: 1 }, [[], ['a', null, 'NULL', '"', ',']]],
  [{ kind: 'other', name: 'point' }, ['(1,2)']],
]

function typeSamples(database: MemoryDatabase): TypeSamples {
  const int = typeOf('int')
  const columns = [int, ...TYPES.map(([type]) => type)].map((type, index): Column => {
    const name = index === 0 ? 'id' : `c${index}`
    return { id: String(index), name, type, nullable: index > 0, native: type.kind }
  })
  const depth = Math.max(...TYPES.map(([, values]) => values.length)) + 1
  return {
    tables: ['types'],
    async create() {
      database.createTable({ namespace: 'public', name: 'types', columns, key: [0], version: 1 })
    },
    async insert(first) {
      for (let sample = 0; sample < depth; sample++) {
        const cells = TYPES.map(([, values], index) => [`c${index + 1}`, values[sample] ?? null] as const)
        database.insert('public.types', { id: first + sample, ...Object.fromEntries(cells) })
      }
    },
  }
}
