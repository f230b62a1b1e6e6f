import * as Cause from 'effect/Cause'
import * as Clock from 'effect/Clock'
import * as Duration from 'effect/Duration'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { textToValue, UNCHANGED, type Value, valueToText } from '../../../src/core/canonical.ts'
import type { Sink } from '../../../src/core/sink.ts'
import type { Column, TableSchema } from '../../../src/core/table.ts'
import type { ValueRow } from '../../../src/core/value-batch.ts'
import { MemorySink } from '../../../src/connectors/sinks/memory/sink.ts'
import { MemoryTarget } from '../../../src/connectors/sinks/memory/target.ts'
import { MemoryDatabase } from '../../../src/connectors/sources/memory/database.ts'
import { MemorySource } from '../../../src/connectors/sources/memory/source.ts'
import { MemoryCheckpointStore } from '../../../src/runtime/checkpoint/memory.ts'
import type { PipelineDefinition, RunOptions } from '../../../src/runtime/definition.ts'
import { pipeline } from '../../../src/runtime/pipeline.ts'
import { KeepingSink } from '../keeping-sink.ts'
import type { ScriptedTransaction } from './history.ts'
import type { State } from './model.ts'
import type { Bench } from './play.ts'
import type { Cell, HistoryColumn, Kind, Row, Statement } from './statement.ts'

/** What the memory source can report: it copies no table again, so stored text must survive a change of type. */
export function memoryKnows(statement: Statement): boolean {
  if (statement.does === 'change key') return false
  if (statement.does !== 'retype column') return true
  const { from, to } = statement
  return from !== 'bool' && from !== 'text' && !(from === 'int' && to === 'int')
}

export const memorySinkCount = 3

let count = 0

/** Sinks with a buffer, without one, and one that keeps the position itself; each goes through `wrap`. */
export function memorySinks(
  name: string,
  flushInterval: number,
  wrap: (sink: Sink) => Sink = (sink) => sink,
): PipelineDefinition['sinks'] {
  return [
    {
      name: 'flushed',
      type: 'memory',
      create: () => wrap(new MemorySink({ target: `${name} flushed`, durable: 'flush', flushInterval })),
    },
    {
      name: 'written',
      type: 'memory',
      create: () => wrap(new MemorySink({ target: `${name} written`, durable: 'write', flushInterval: 0 })),
    },
    { name: 'keeping', type: 'keeping', create: () => wrap(new KeepingSink(`${name} keeping`)) },
  ]
}

/** What the sinks of that name hold. */
export function memoryTargets(name: string): Readonly<Record<string, State>> {
  return Object.fromEntries(
    ['flushed', 'written', 'keeping'].map((sink) => [
      sink,
      targetState(MemoryTarget.named(`${name} ${sink}`)),
    ]),
  )
}

/** Memory to memory, with retries and intervals fifty times as fast as they are. */
export class MemoryBench implements Bench {
  readonly quietMs = 4
  readonly afterthoughtMs = 0
  readonly definition: PipelineDefinition
  readonly #name = `history ${++count}`
  readonly #database = MemoryDatabase.named(this.#name)
  /** As of the open transaction. */
  readonly #schemas = new Map<string, TableSchema>()
  #columns = 0

  constructor(wrap?: (sink: Sink) => Sink) {
    this.definition = {
      name: this.#name,
      tables: [],
      source: {
        type: 'memory',
        create: () => new MemorySource({ database: this.#name, heartbeat: 10, partialUpdates: true }),
      },
      sinks: memorySinks(this.#name, 200, wrap),
      store: new MemoryCheckpointStore(),
      // Budgets in the time of `fastClock`: a busy machine must not spend them.
      limits: { checkpointIntervalMs: 20, startBudgetMs: 1e8, shutdownDeadlineMs: 1e6 },
    }
  }

  async run(definition: PipelineDefinition, options: RunOptions): Promise<unknown> {
    const effect = Effect.provideService(pipeline(definition, options), Clock.Clock, fastClock)
    const exit = await Effect.runPromiseExit(effect)
    if (Exit.isSuccess(exit)) return exit.value
    throw Cause.squash(exit.cause)
  }

  async commit({ statements, rollback }: ScriptedTransaction): Promise<void> {
    if (rollback) return
    this.#database.transaction(() => {
      for (const statement of statements) if (!('undone' in statement)) this.#do(statement)
    })
  }

  async source(): Promise<State> {
    const tables = this.#database.schemas()
    return Object.fromEntries(
      tables.map((table) => [table.name, stateOf(table, this.#database.rows(`public.${table.name}`))]),
    )
  }

  async targets(): Promise<Readonly<Record<string, State>>> {
    return memoryTargets(this.#name)
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #do(statement: Statement): void {
    const database = this.#database
    const name = `public.${statement.table}`
    const schema = this.#schemas.get(name)!
    const cells = (row: Row): ValueRow => valuesOf(schema, row)
    const alter = (columns: readonly Column[], change: Parameters<typeof database.alterTable>[1]): void => {
      const keep = schema.key.map((index) => schema.columns[index]!.id)
      const key = keep.map((id) => columns.findIndex((column) => column.id === id))
      const altered = { ...schema, columns, key, version: schema.version + 1 }
      this.#schemas.set(name, altered)
      database.alterTable(altered, change)
    }
    const column = (wanted: string): Column => schema.columns.find((it) => it.name === wanted)!
    const replaced = (from: Column, to: Column): readonly Column[] =>
      schema.columns.map((it) => (it === from ? to : it))
    switch (statement.does) {
      case 'create table': {
        const columns = statement.columns.map((it) => this.#column(it))
        const key = statement.key.map((part) => columns.findIndex((it) => it.name === part))
        const table = { namespace: 'public', name: statement.table, columns, key, version: 0 }
        this.#schemas.set(name, table)
        return database.createTable(table)
      }
      case 'drop table':
        return database.dropTable(name)
      case 'truncate':
        return database.truncate(name)
      case 'add column': {
        const { value } = statement
        const bare = this.#column(statement.column)
        const text = value === null ? null : valueToText(bare.type, valueOf(statement.column.kind, value))
        const added = { ...bare, addedDefault: text }
        return alter([...schema.columns, added], { kind: 'add-column', column: added })
      }
      case 'drop column': {
        const dropped = column(statement.column)
        const left = schema.columns.filter((it) => it !== dropped)
        return alter(left, { kind: 'drop-column', column: dropped })
      }
      case 'rename column': {
        const from = column(statement.from)
        const to = { ...from, name: statement.to }
        return alter(replaced(from, to), { kind: 'rename-column', from, to })
      }
      case 'retype column': {
        const from = column(statement.column)
        const to = { ...from, type: typeOf(statement.to), native: statement.to }
        return alter(replaced(from, to), { kind: 'alter-column', from, to })
      }
      case 'allow null': {
        const from = column(statement.column)
        const to = { ...from, nullable: true }
        return alter(replaced(from, to), { kind: 'alter-column', from, to })
      }
      case 'change key':
        throw new Error('a memory database cannot change the key of a table')
      case 'insert':
        return database.insert(name, cells(statement.row))
      case 'update':
        return database.update(name, cells(statement.key), cells(statement.set))
      case 'update all':
        for (const row of database.rows(name)) database.update(name, row, cells(statement.set))
        return
      case 'delete':
        return database.delete(name, cells(statement.key))
    }
  }

  #column({ name, kind, required }: HistoryColumn): Column {
    return { id: String(++this.#columns), name, type: typeOf(kind), nullable: !required, native: kind }
  }
}

const TYPES: Readonly<Record<Kind, ColumnType>> = {
  int: { kind: 'int', bits: 32, unsigned: false },
  bigint: { kind: 'int', bits: 64, unsigned: false },
  decimal: { kind: 'decimal', precision: 12, scale: 3 },
  text: { kind: 'text' },
  large: { kind: 'text' },
  bool: { kind: 'bool' },
  timestamp: { kind: 'timestamp', digits: 6, zoned: true },
  bytes: { kind: 'bytes' },
}

function typeOf(kind: Kind): ColumnType {
  return TYPES[kind]
}

function valueOf(kind: Kind, cell: Cell): Value {
  if (cell === null) return null
  if (kind === 'bool') return cell === 'true'
  return textToValue(typeOf(kind), cell)
}

function valuesOf(table: TableSchema, row: Row): ValueRow {
  return Object.fromEntries(
    Object.entries(row).map(([name, cell]) => {
      const { native } = table.columns.find((column) => column.name === name)!
      return [name, valueOf(native as Kind, cell)]
    }),
  )
}

function targetState(target: MemoryTarget): State {
  return Object.fromEntries(
    target.tables.map((table) => [
      table.name,
      stateOf(table, target.rows(`${table.namespace}.${table.name}`)),
    ]),
  )
}

function stateOf(table: TableSchema, rows: readonly ValueRow[]): State[string] {
  return {
    columns: table.columns.map(({ name }) => name),
    rows: rows.map((row) =>
      Object.fromEntries(table.columns.map(({ name, type }) => [name, cellOf(type, row[name])])),
    ),
  }
}

/** The plain form of a value; what should be no value at all is made to differ from every one. */
function cellOf(type: ColumnType, value: Value): Cell {
  if (value === null) return null
  if (value === UNCHANGED || value === undefined) return `<${String(value)}>`
  const text = valueToText(type, value)
  if (type.kind === 'bool') return text === 't' ? 'true' : 'false'
  if (type.kind === 'timestamp') return plainTimestamp(text)
  return text
}

/** `2024-02-29 23:59:59.9+00` with six digits. */
function plainTimestamp(text: string): string {
  const [seconds, fraction = ''] = text.replace(/\+00$/, '').split('.')
  return `${seconds}.${fraction.padEnd(6, '0')}+00`
}

/** Runs fifty times as fast, so that a retry does not hold a history up. */
const fastClock: Clock.Clock = (() => {
  const factor = 50
  const nowMs = (): number => performance.timeOrigin + performance.now() * factor
  const nanos = (): bigint => BigInt(Math.round(nowMs() * 1e6))
  return {
    currentTimeMillisUnsafe: nowMs,
    currentTimeMillis: Effect.sync(nowMs),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.callback<void>((resume) => {
        const timer = setTimeout(() => resume(Effect.void), Duration.toMillis(duration) / factor)
        return Effect.sync(() => clearTimeout(timer))
      }),
  }
})()
