import { randomUUID } from 'node:crypto'
import type { MemoryConfig } from '../../src/connectors/sinks/memory/config.ts'
import { MemorySink } from '../../src/connectors/sinks/memory/sink.ts'
import { MemoryTarget } from '../../src/connectors/sinks/memory/target.ts'
import { UNCHANGED, valueToText } from '../../src/core/canonical.ts'
import type { Sink } from '../../src/core/sink.ts'
import { tableName, type TableSchema } from '../../src/core/table.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import type { SinkBench, SinkHarness, TextRow, Waivers } from '../../src/testkit/index.ts'
import { KeepingSink } from '../support/keeping-sink.ts'

const NO_SERVER = 'There is no server and no network: the target is in this process.'
const waivers: Waivers = {
  'cut-during-write': NO_SERVER,
  'slow-answer': NO_SERVER,
  'abort-during-call': NO_SERVER,
  unreachable: NO_SERVER,
  'wrong-password': NO_SERVER,
  'replay-partial-moves':
    'Rows have no versions here: in a replay, the row that a key change came from may be another one by now.',
}

/** The memory sink; `durable` is its option. */
export function memorySinkHarness(durable: MemoryConfig['durable'] = 'flush'): SinkHarness {
  return inMemory((target) => new MemorySink({ target, durable, flushInterval: 1000 }))
}

/** A sink that keeps its position beside its rows. */
export function keepingSinkHarness(): SinkHarness {
  return inMemory((target) => new KeepingSink(target))
}

function inMemory(create: (target: string) => Sink): SinkHarness {
  return {
    capabilities: create('none').capabilities(),
    waivers,
    open: async () => openBench(create),
  }
}

function openBench(create: (target: string) => Sink): SinkBench {
  const name = `kit-${randomUUID()}`
  const target = MemoryTarget.named(name)
  const sinks: Sink[] = []
  return {
    pipeline: 'kit',
    secrets: [],
    create() {
      const sink = create(name)
      sinks.push(sink)
      return sink
    },
    rows: async (schema) => target.rows(tableName(schema)).map((row) => textRow(schema, row)),
    inventory: async () =>
      target.tables.flatMap((table) => table.columns.map((column) => `${tableName(table)} ${column.name}`)),
    refuseRow: async (schema, key) => {
      target.refuse((table, row) => {
        const shown = textRow(schema, row)
        return (
          table === tableName(schema) && Object.entries(key).every(([column, cell]) => shown[column] === cell)
        )
      })
      return async () => target.refuse(() => false)
    },
    // What is in the target stays; what the sinks have not handed over is lost with them.
    crash: async () => {
      for (const sink of sinks) await sink.disconnect()
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

/** Without the cells that are absent or not known. */
function textRow(schema: TableSchema, row: ValueRow): TextRow {
  const cells = schema.columns.flatMap(({ name, type }) => {
    const value = row[name]
    if (value === undefined || value === UNCHANGED) return []
    return [[name, value === null ? null : valueToText(type, value)] as const]
  })
  return Object.fromEntries(cells)
}
