import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as Schema from 'effect/Schema'
import { ZeroConfig } from '../../src/connectors/sinks/zero/config.ts'
import { readCells } from '../../src/connectors/sinks/zero/record-reader.ts'
import { ZeroWebSocketSink } from '../../src/connectors/sinks/zero/sink.ts'
import type { TableVersion, VersionColumn } from '../../src/connectors/sinks/zero/table-version.ts'
import { formatArray } from '../../src/core/array-text.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import { tableName, type TableSchema } from '../../src/core/table.ts'
import type { SinkBench, SinkHarness, TextRow, Waivers } from '../../src/testkit/index.ts'

const NO_SERVER = 'There is no server and no network to it: what the sink keeps is a file.'
const NO_REFUSAL =
  'The file takes every row that can be written for Zero; rows that cannot are in the tests of types.'
const waivers: Waivers = {
  'cut-during-write': NO_SERVER,
  'slow-answer': NO_SERVER,
  'abort-during-call': NO_SERVER,
  unreachable: NO_SERVER,
  'wrong-password': NO_SERVER,
  'rejected-row': NO_REFUSAL,
  'partial-success': NO_REFUSAL,
  'replay-partial-moves':
    'Rows have no versions here: in a replay, the row that a key change came from may be another one by now.',
  'hostile-names':
    'zero-cache takes letters, digits, _ and - only; other names are refused, see the unit tests of names.',
}

/** The Zero sink; what it has is read from the file of its change log, in the form that subscribers get. */
export function zeroHarness(more: Record<string, unknown> = {}): SinkHarness {
  return {
    capabilities: sinkOf('none', more).capabilities(),
    waivers,
    open: () => openBench(more),
  }
}

function sinkOf(path: string, more: Record<string, unknown>): ZeroWebSocketSink {
  return new ZeroWebSocketSink(Schema.decodeUnknownSync(ZeroConfig)({ path, port: 0, ...more }))
}

async function openBench(more: Record<string, unknown>): Promise<SinkBench> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-zero-'))
  const path = join(folder, 'changes.db')
  const made: ZeroWebSocketSink[] = []
  return {
    pipeline: 'kit',
    secrets: [],
    create() {
      const sink = sinkOf(path, more)
      made.push(sink)
      return sink
    },
    rows: async (schema) => readRows(path, schema),
    inventory: async () => inventory(path),
    // Of a sink in this process nothing is left but its file; ends of whole processes are in the tests of chaos.
    crash: async () => {
      for (const sink of made) await sink.disconnect()
    },
    async [Symbol.asyncDispose]() {
      for (const sink of made) await sink.disconnect()
      await rm(folder, { recursive: true })
    },
  }
}

interface Found {
  readonly version: TableVersion
  readonly state: number
}

/** What subscribers see; before that, what the first copy has brought. */
function tablesOf(db: DatabaseSync): ReadonlyMap<string, Found> {
  const rows = db
    .prepare(
      `SELECT t.source, coalesce(t.state, t.copy_state) AS state, v.body FROM tables AS t
       JOIN versions AS v ON v.id = coalesce(t.version, t.copy_version)`,
    )
    .all() as unknown as { source: string; state: number; body: string }[]
  return new Map(
    rows.map(({ source, state, body }) => [source, { state, version: JSON.parse(body) as TableVersion }]),
  )
}

function readRows(path: string, schema: TableSchema): readonly TextRow[] {
  const db = new DatabaseSync(path, { readOnly: true })
  try {
    const found = tablesOf(db).get(tableName(schema))
    if (found === undefined) return []
    const { version, state } = found
    const rows = db.prepare(`SELECT key, cells FROM state_${state}`).all() as unknown as {
      key: Uint8Array
      cells: Uint8Array
    }[]
    return rows.map(({ key, cells }) => {
      const keyTexts = readCells(key)
      const cellTexts = readCells(cells)
      const entries = schema.columns.flatMap(({ name, type }): [string, string | null][] => {
        const inKey = version.key.findIndex((column) => column.name === name)
        const slot = version.slots.findIndex((column) => column?.name === name)
        const column = inKey >= 0 ? version.key[inKey] : version.slots[slot]
        if (column === null || column === undefined) return []
        const json =
          inKey >= 0
            ? keyTexts[inKey]
            : slot < cellTexts.length
              ? cellTexts[slot]
              : version.slots[slot]!.missing
        return [[name, json === null || json === undefined ? null : canonical(type, column, json)]]
      })
      return Object.fromEntries(entries)
    })
  } finally {
    db.close()
  }
}

function inventory(path: string): readonly string[] {
  if (!existsSync(path)) return []
  const db = new DatabaseSync(path, { readOnly: true })
  try {
    return [...tablesOf(db)].flatMap(([source, { version }]) =>
      [...version.key, ...version.slots].flatMap((column) =>
        column === null ? [] : [`${source} ${column.name}`],
      ),
    )
  } finally {
    db.close()
  }
}

/** The source's text again, from what Zero gets. */
function canonical(type: ColumnType, { encoding }: Pick<VersionColumn, 'encoding'>, json: string): string {
  switch (encoding) {
    case 'boolean':
      return json === 'true' ? 't' : 'f'
    case 'integer':
    case 'decimal':
      return json
    case 'float':
      return json.startsWith('"') ? (JSON.parse(json) as string) : json
    case 'string':
    case 'json':
      return JSON.parse(json) as string
    case 'base64':
      return `\\x${Buffer.from(JSON.parse(json) as string, 'base64').toString('hex')}`
    case 'date':
      return day(BigInt(json) / 86_400_000n)
    case 'time':
      return clock(micros(json), type)
    case 'timestamp':
      return moment(micros(json), type)
    default:
      return arrayText(type, encoding, json)
  }
}

function arrayText(type: ColumnType, encoding: VersionColumn['encoding'], json: string): string {
  if (type.kind !== 'array') throw new Error(`no reading of ${encoding}`)
  const text = encoding === 'json[]' ? (JSON.parse(json) as string) : json
  const element = encoding.slice(0, -2) as VersionColumn['encoding']
  const isJson = element === 'json'
  return formatArray(nested(text, type.dimensions) as never, (value) =>
    isJson ? String(value) : canonical(type.of, { encoding: element }, String(value)),
  )

  /** Elements as their JSON texts. Of JSON elements null is the JSON null: NULL is written alike. */
  function nested(list: string, depth: number): unknown[] {
    return elements(list).map((one) => {
      if (isJson ? depth > 1 : one.startsWith('[')) return nested(one, depth - 1)
      return one === 'null' && !isJson ? null : one
    })
  }
}

/** The texts between the commas of a JSON array. */
function elements(list: string): readonly string[] {
  const found: string[] = []
  let depth = 0
  let start = 1
  for (let at = 0; at < list.length; at++) {
    const char = list[at]!
    if (char === '"') {
      for (at++; list[at] !== '"'; at++) if (list[at] === '\\') at++
    } else if (char === '[' || char === '{') depth++
    else if (char === ']' || char === '}') depth--
    if ((char === ',' && depth === 1) || (char === ']' && depth === 0)) {
      if (at > start) found.push(list.slice(start, at).trim())
      start = at + 1
    }
  }
  return found
}

/** Milliseconds with a fraction as microseconds. */
function micros(json: string): bigint {
  const negative = json.startsWith('-')
  const [whole, fraction = ''] = json.replace('-', '').split('.')
  const value = BigInt(whole!) * 1000n + BigInt(fraction.padEnd(3, '0'))
  return negative ? -value : value
}

function moment(value: bigint, type: ColumnType): string {
  const perDay = 86_400_000_000n
  const days = value >= 0n ? value / perDay : -((-value + perDay - 1n) / perDay)
  const zoned = type.kind === 'timestamp' && type.zoned ? '+00' : ''
  const text = day(days)
  const bc = text.endsWith(' BC') ? ' BC' : ''
  return `${text.slice(0, text.length - bc.length)} ${clock(value - days * perDay, type)}${zoned}${bc}`
}

function clock(value: bigint, _type: ColumnType): string {
  const two = (number: bigint): string => String(number).padStart(2, '0')
  const seconds = value / 1_000_000n
  const fraction = String(value % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '')
  const time = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`
  return fraction === '' ? time : `${time}.${fraction}`
}

function day(days: bigint): string {
  // Civil date from days, proleptic Gregorian.
  const shifted = days + 719_468n
  const era = (shifted >= 0n ? shifted : shifted - 146_096n) / 146_097n
  const dayOfEra = shifted - era * 146_097n
  const yearOfEra = (dayOfEra - dayOfEra / 1460n + dayOfEra / 36_524n - dayOfEra / 146_096n) / 365n
  const dayOfYear = dayOfEra - (365n * yearOfEra + yearOfEra / 4n - yearOfEra / 100n)
  const shiftedMonth = (5n * dayOfYear + 2n) / 153n
  const month = shiftedMonth < 10n ? shiftedMonth + 3n : shiftedMonth - 9n
  const year = yearOfEra + era * 400n + (month <= 2n ? 1n : 0n)
  const two = (number: bigint): string => String(number).padStart(2, '0')
  const shown = year <= 0n ? 1n - year : year
  return `${String(shown).padStart(4, '0')}-${two(month)}-${two(dayOfYear - (153n * shiftedMonth + 2n) / 5n + 1n)}${year <= 0n ? ' BC' : ''}`
}
