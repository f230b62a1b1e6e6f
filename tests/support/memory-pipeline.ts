import type { Logger } from '../../src/core/context.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import type { Sink } from '../../src/core/sink.ts'
import type { Source } from '../../src/core/source.ts'
import type { Column, TableSchema } from '../../src/core/table.ts'
import { MemorySink } from '../../src/connectors/sinks/memory/sink.ts'
import { MemoryTarget } from '../../src/connectors/sinks/memory/target.ts'
import { MemoryDatabase } from '../../src/connectors/sources/memory/database.ts'
import { MemorySource } from '../../src/connectors/sources/memory/source.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import type { PipelineDefinition } from '../../src/runtime/definition.ts'
import { FaultySink, type Faults } from './faulty-sink.ts'
import { FaultySource, type SourceFaults } from './faulty-source.ts'

export const int: ColumnType = { kind: 'int', bits: 32, unsigned: false }
export const text: ColumnType = { kind: 'text' }

export function column(name: string, type: ColumnType): Column {
  return { id: name, name, type, nullable: true, native: type.kind }
}

/** `public.<name>` with the columns id (key), name and note. */
export function table(name: string): TableSchema {
  const columns = [column('id', int), column('name', text), column('note', text)]
  return { namespace: 'public', name, columns, key: [0], version: 0 }
}

export interface Line {
  readonly level: keyof Logger
  readonly message: string
  readonly code: unknown
  readonly table: unknown
  readonly change: unknown
}

/** Keeps the lines, so that a failing test can print them. */
export function recordingLog(): Logger & { readonly lines: Line[] } {
  const lines: Line[] = []
  const at =
    (level: keyof Logger): Logger['info'] =>
    (message, fields) =>
      lines.push({
        level,
        message,
        code: fields?.['code'],
        table: fields?.['table'],
        change: fields?.['change'],
      })
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

let count = 0

/** A database, a target per sink and the definition of a pipeline between them. Every call makes new ones. */
export function memoryPipeline(
  options: {
    readonly sinks?: readonly Faults[]
    readonly source?: SourceFaults
    readonly durable?: 'write' | 'flush'
    readonly limits?: PipelineDefinition['limits']
    readonly flushInterval?: number
    readonly heartbeat?: number
  } = {},
) {
  const name = `test-${++count}`
  const database = MemoryDatabase.named(name)
  const faults = options.sinks ?? [{}]
  const targets = faults.map((_, index) => MemoryTarget.named(`${name}-${index}`))
  const createSource = (): Source =>
    new FaultySource(
      new MemorySource({ database: name, heartbeat: options.heartbeat ?? 20, partialUpdates: true }),
      options.source ?? {},
    )
  const createSink = (index: number): Sink =>
    new FaultySink(
      new MemorySink({
        target: `${name}-${index}`,
        durable: options.durable ?? 'flush',
        flushInterval: options.flushInterval ?? 5,
      }),
      faults[index]!,
    )
  const store = new MemoryCheckpointStore()
  const definition: PipelineDefinition = {
    name,
    tables: [],
    source: { type: 'memory', create: createSource },
    sinks: faults.map((_, index) => ({
      name: `sink-${index}`,
      type: 'memory',
      create: () => createSink(index),
    })),
    store,
    limits: { checkpointIntervalMs: 5, ...options.limits },
  }
  return { database, targets, definition, store, log: recordingLog() }
}

/** Rows by key, for comparing a database with a target. */
export function contents(of: MemoryDatabase | MemoryTarget): Record<string, unknown> {
  const tables = of instanceof MemoryDatabase ? of.schemas() : of.tables
  return Object.fromEntries(
    tables.map((schema) => {
      const name = `${schema.namespace}.${schema.name}`
      const rows = of
        .rows(name)
        .map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))))
      return [name, rows.sort()]
    }),
  )
}
