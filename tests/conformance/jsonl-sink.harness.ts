import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sinks } from '../../examples/jsonl-sink.ts'
import { formatArray } from '../../src/core/array-text.ts'
import { valueToText } from '../../src/core/canonical.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import type { Sink } from '../../src/core/sink.ts'
import { type SchemaOperation, tableName, type TableSchema } from '../../src/core/table.ts'
import type { SinkBench, SinkHarness, TextRow } from '../../src/testkit/index.ts'

const [connector] = sinks
const create = await connector!.load()
const sink = (path: string): Sink => create({ path, flushInterval: 1000 })

const NO_SERVER = 'There is no server and no network: the target is a file.'
const NO_REFUSAL = 'A file refuses no row.'

/** The example of a sink that appends: what its file says is what a reader finds who applies line by line. */
export const jsonlSinkHarness: SinkHarness = {
  capabilities: sink('none').capabilities(),
  waivers: {
    'cut-during-write': NO_SERVER,
    'slow-answer': NO_SERVER,
    'abort-during-call': NO_SERVER,
    unreachable: NO_SERVER,
    'wrong-password': NO_SERVER,
    'rejected-row': NO_REFUSAL,
    'partial-success': NO_REFUSAL,
  },
  open: openBench,
}

async function openBench(): Promise<SinkBench> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-jsonl-'))
  const path = join(folder, 'out.jsonl')
  const made: Sink[] = []
  return {
    pipeline: 'kit',
    secrets: [],
    create() {
      const one = sink(path)
      made.push(one)
      return one
    },
    rows: async (schema) => readRows(await readFile(path, 'utf8'), schema),
    inventory: () => readdir(folder),
    // The file's server is the operating system, which goes on; what is in this process is gone.
    crash: async () => {
      for (const one of made) await one.disconnect()
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

type Json = string | number | boolean | null | readonly Json[]
type Row = Readonly<Record<string, Json>>
type Line = { readonly table: string } & (
  | { readonly op: 'insert'; readonly key: Json; readonly row: Row }
  | { readonly op: 'update'; readonly key: Json; readonly row: Row; readonly oldKey?: Json }
  | { readonly op: 'delete'; readonly key: Json }
  | { readonly op: 'alter'; readonly change: SchemaOperation }
)

/** Applies the lines of a table in order. */
function readRows(text: string, schema: TableSchema): readonly TextRow[] {
  const rows = new Map<string, Row>()
  for (const words of text.split('\n')) {
    const line = words === '' ? null : (JSON.parse(words) as Line)
    if (line === null || line.table !== tableName(schema)) continue
    if (line.op === 'alter') change(rows, line.change)
    else {
      const old = JSON.stringify(line.op === 'update' ? (line.oldKey ?? line.key) : line.key)
      const stored = rows.get(old)
      rows.delete(old)
      if (line.op === 'insert') rows.set(old, line.row)
      else if (line.op === 'update') rows.set(JSON.stringify(line.key), { ...stored, ...line.row })
    }
  }
  return [...rows.values()].map((row) => textRow(schema, row))
}

function change(rows: Map<string, Row>, operation: SchemaOperation): void {
  if (operation.kind === 'truncate' || operation.kind === 'drop-table') rows.clear()
  for (const [key, row] of rows) {
    const cells: Record<string, Json> = { ...row }
    if (operation.kind === 'add-column') cells[operation.column.name] = operation.column.addedDefault ?? null
    else if (operation.kind === 'drop-column') delete cells[operation.column.name]
    else if (operation.kind === 'rename-column') {
      cells[operation.to.name] = cells[operation.from.name]!
      delete cells[operation.from.name]
    }
    rows.set(key, cells)
  }
}

function textRow(schema: TableSchema, row: Row): TextRow {
  const known = schema.columns.filter(({ name }) => Object.hasOwn(row, name))
  return Object.fromEntries(
    known.map(({ name, type }) => [name, row[name] === null ? null : canonical(type, row[name]!)]),
  )
}

function canonical(type: ColumnType, cell: Json): string {
  if (type.kind === 'array' && Array.isArray(cell))
    return formatArray(cell as readonly Json[], (element) => canonical(type.of, element))
  return valueToText(type, cell)
}
