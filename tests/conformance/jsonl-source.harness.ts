/** The example of a third-party connector: its "server" is a file that this process appends to. */
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Source } from 'sluice'
import type {
  KitChange,
  KitColumn,
  KitRow,
  KitType,
  SourceBench,
  SourceHarness,
  TextRow,
  TypeSamples,
} from 'sluice/testkit'
import { sources } from '../../examples/third-party-connector/index.ts'
import { formatArray } from '../../src/core/array-text.ts'

const create = await sources[0]!.load()
const NO_SERVER = 'The log is a local file: there is no link to a server, and nobody logs in.'
/** Where the system shows which files a process has open. */
const OPEN_FILES = '/proc/self/fd'
const isLinux = process.platform === 'linux'

export const jsonlHarness: SourceHarness = {
  capabilities: create({ path: '' }).capabilities(),
  waivers: {
    'unread-rows-stay-on-the-server': NO_SERVER,
    'cut-link-is-retryable': NO_SERVER,
    'unreachable-is-retryable': NO_SERVER,
    'wrong-password-is-auth-error': NO_SERVER,
    'checkpoint-releases': 'The file belongs to those who write it: the source never removes anything.',
    ...(isLinux ? {} : { 'leaves-no-connection': 'Only Linux shows which files a process has open.' }),
  },
  async open() {
    return new JsonlBench()
  },
}

const TYPE_NAMES: Readonly<Record<KitType, string>> = {
  int: 'int32',
  bigint: 'int64',
  text: 'text',
  'large-text': 'text',
}

/** A table as an application has it, which writes complete rows. */
interface AppTable {
  readonly key: readonly string[]
  readonly columns: readonly KitColumn[]
  readonly rows: Map<string, KitRow>
}

/** A line as it stands in the file, numbers as their digits. */
interface LogChange {
  readonly type?: string
  readonly table: string
  readonly key: Readonly<Record<string, unknown>>
  readonly value?: Readonly<Record<string, unknown>>
}

class JsonlBench implements SourceBench {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-jsonl-'))
  readonly #path = join(this.#folder, 'log.jsonl')
  readonly #tables = new Map<string, AppTable>()
  #others = 0
  readonly pipeline = basename(this.#folder)
  readonly tables = ['kit.*']
  readonly secrets: readonly string[] = []
  readonly types = typeSamples((line) => this.#append(line))
  readonly connections?: () => Promise<number>

  constructor() {
    writeFileSync(this.#path, '')
    if (isLinux) this.connections = async () => this.#openFiles()
  }

  create(): Source {
    return create({ path: this.#path })
  }

  nameOf(table: string): string {
    return `kit.${table}`
  }

  async apply(changes: readonly KitChange[]): Promise<void> {
    const lines: unknown[] = []
    let transaction: unknown[] = []
    const commit = (): void => {
      // One change needs no list around it.
      if (transaction.length > 0) lines.push(transaction.length === 1 ? transaction[0] : transaction)
      transaction = []
    }
    for (const change of changes) {
      if (change.kind !== 'create-table') transaction.push(this.#change(change))
      else {
        commit()
        lines.push(this.#createTable(change))
      }
    }
    commit()
    this.#append(...lines.map(encode))
  }

  async objects(): Promise<readonly string[]> {
    return readdirSync(this.#folder).filter((name) => name !== basename(this.#path))
  }

  async rows(table: string): Promise<readonly TextRow[]> {
    const rows = new Map<string, TextRow>()
    const lines = readFileSync(this.#path, 'utf8').split('\n').slice(0, -1)
    for (const change of lines.flatMap((line) => JSON.parse(line, asWritten) as LogChange | LogChange[])) {
      if (change.type === undefined || change.table !== this.nameOf(table)) continue
      rows.delete(JSON.stringify(change.key))
      if (change.value === undefined) continue
      const { key, value } = change
      const moved = Object.keys(key).map((name) => [name, value[name] ?? key[name]] as const)
      const cells = Object.entries({ ...key, ...value }).map(([name, cell]) => [name, textOf(cell)] as const)
      rows.set(JSON.stringify(Object.fromEntries(moved)), Object.fromEntries(cells))
    }
    return [...rows.values()]
  }

  async unrelated(): Promise<void> {
    const table = 'elsewhere.t'
    const id = ++this.#others
    if (id === 1) this.#append(encode({ table, key: ['id'], columns: { id: 'int32' } }))
    this.#append(encode({ type: 'insert', table, key: { id }, value: {} }))
  }

  /** Puts a file into its place that lacks the oldest change. */
  async loseHistory(): Promise<void> {
    const lines = readFileSync(this.#path, 'utf8').split('\n')
    const oldest = lines.findIndex((line) => line.includes('"type":'))
    writeFileSync(`${this.#path}.new`, lines.toSpliced(oldest, 1).join('\n'))
    renameSync(`${this.#path}.new`, this.#path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #openFiles(): number {
    const isOurs = (descriptor: string): boolean => {
      try {
        return readlinkSync(join(OPEN_FILES, descriptor)) === this.#path
      } catch {
        return false
      }
    }
    return readdirSync(OPEN_FILES).filter(isOurs).length
  }

  #append(...lines: readonly string[]): void {
    appendFileSync(this.#path, lines.map((line) => `${line}\n`).join(''))
  }

  #createTable({ table, key, columns }: Extract<KitChange, { kind: 'create-table' }>): unknown {
    this.#tables.set(table, { key, columns, rows: new Map() })
    const types = columns.map(({ name, type }) => {
      return [name, `${TYPE_NAMES[type]}${key.includes(name) ? '' : '?'}`] as const
    })
    return { table: this.nameOf(table), key, columns: Object.fromEntries(types) }
  }

  #change(change: KitChange): unknown {
    const table = this.nameOf(change.table)
    const { key, rows } = this.#tables.get(change.table)!
    const keyOf = (row: KitRow): KitRow => Object.fromEntries(key.map((name) => [name, row[name]!]))
    const timestamp = Date.now()
    switch (change.kind) {
      case 'insert': {
        rows.set(JSON.stringify(keyOf(change.row)), change.row)
        return { type: 'insert', table, key: keyOf(change.row), value: change.row, timestamp }
      }
      case 'update': {
        const before = rows.get(JSON.stringify(change.key))!
        const value = { ...before, ...change.set }
        rows.delete(JSON.stringify(change.key))
        rows.set(JSON.stringify(keyOf(value)), value)
        return { type: 'update', table, key: change.key, value, timestamp }
      }
      case 'delete': {
        rows.delete(JSON.stringify(change.key))
        return { type: 'delete', table, key: change.key, timestamp }
      }
      default:
        throw new Error(`the file cannot say ${change.kind}`)
    }
  }
}

/** A line as a program writes it whose integers are as large as they like. */
function encode(line: unknown): string {
  return JSON.stringify(line, (_key, value: unknown) =>
    typeof value === 'bigint' ? rawJson(value.toString()) : value,
  )
}

/** Not among the types of this version of TypeScript. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): unknown }

function textOf(cell: unknown): string | null {
  if (typeof cell === 'boolean') return cell ? 't' : 'f'
  return Array.isArray(cell) ? formatArray(cell as readonly string[], String) : (cell as string | null)
}

/** Numbers as their text stands in the file. */
function asWritten(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' ? context!.source : value
}

/** Values by type, as JSON: numbers in all their digits. */
const SAMPLES: readonly (readonly [type: string, values: readonly string[]])[] = [
  ['bool', ['true', 'false']],
  ['int8', ['-128', '127']],
  ['uint16', ['0', '65535']],
  ['int64', ['-9223372036854775808', '9223372036854775807', '9007199254740993', '"9007199254740993"']],
  ['uint64', ['18446744073709551615']],
  ['float32', ['0.1', '16777216']],
  ['float64', ['0.1', '5e-324', '1.7976931348623157e+308', '0.30000000000000004', '"NaN"', '"-Infinity"']],
  ['decimal', ['0.1', '123456789012345678901234567890.1', '-0.0000001', '"1.50"']],
  ['decimal(12,2)', ['9999999999.99', '-0.01', '12']],
  ['text', ['""', '"NULL"', JSON.stringify('\\N \t\n\u2028🐘')]],
  ['enum', ['"sad"']],
  ['uuid', ['"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"']],
  ['json', [JSON.stringify('{"a": [1.0, 12345678901234567890, null]}')]],
  ['date', ['"2024-02-29"', '"0044-03-15 BC"', '"infinity"']],
  ['time(6)', ['"24:00:00"', '"23:59:59.999999"']],
  ['time(3) with time zone', ['"12:34:56.789+05:30"']],
  ['timestamp(9)', ['"2024-02-29 12:34:56.789012345"']],
  ['timestamp(6) with time zone', ['"2024-02-29 12:34:56.789012+00"', '"-infinity"']],
  ['interval', ['"P1Y2M-3DT4H5M6.7S"']],
  ['array of text', ['[]', '["a", null, "NULL", ",", "\\""]']],
  ['array of array of int32', ['[[1, 2], [3, null]]']],
]

function typeSamples(append: (line: string) => void): TypeSamples {
  const table = 'kit.types'
  const depth = Math.max(...SAMPLES.map(([, values]) => values.length)) + 1
  return {
    tables: ['types'],
    async create() {
      const columns = SAMPLES.map(([type], index) => [`c${index}`, `${type}?`] as const)
      append(encode({ table, key: ['id'], columns: { id: 'int32', ...Object.fromEntries(columns) } }))
    },
    async insert(first) {
      for (let sample = 0; sample < depth; sample++) {
        const cells = SAMPLES.map(([, values], index) => `"c${index}": ${values[sample] ?? 'null'}`)
        const key = `{"id": ${first + sample}}`
        append(`{"type": "insert", "table": "${table}", "key": ${key}, "value": {${cells.join(', ')}}}`)
      }
    },
  }
}
