/** A source whose log is a file: JSON lines that other programs append to. README.md says what a line may be. */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { addChange, ConnectionError, CoreError, declareTable, defineSource, fields, handOver } from 'sluice'
import { parseJson, PositionLostError, RecordBatch, Source, tableOf, ValueBatchBuilder } from 'sluice'
import type { BatchWriter, Change, SourceContext } from 'sluice'
import type { SourcePosition, TableDeclaration, TableSchema } from 'sluice'

type Declaration = TableDeclaration & { readonly table: string }
class JsonlSource extends Source {
  readonly type = 'jsonl'
  readonly #path: string
  readonly #builder = new ValueBatchBuilder('stream')
  #context: SourceContext | null = null
  #position: SourcePosition | null = null
  /** The file, and of the lines that were read: what they declare, a hash of them, how many bytes and lines. */
  #inode: number | null = null
  readonly #tables = new Map<string, TableSchema>()
  readonly #hash = createHash('sha256')
  #bytes = 0
  #lines = 0

  constructor(path: string) {
    super()
    this.#path = path
  }
  capabilities() {
    const rows = { updates: true, deletes: true, unchangedCells: false }
    return { ...rows, replay: 'log', snapshot: false, transactions: true, schemaChanges: [] } as const
  }
  async validate() {
    return []
  }
  async connect(context: SourceContext) {
    this.#context = context
  }
  async discover() {
    const scan = new JsonlSource(this.#path)
    await using file = await this.#open()
    for await (const line of linesOf(file, 0)) scan.#pass(line)
    return [...scan.#tables.values()].filter((table) => this.#selects(table))
  }

  /** What was read before is read once more: it declares tables, and shows whether the file is still the same. */
  async stream(out: BatchWriter, from: SourcePosition | null) {
    do {
      await using file = await this.#open()
      for await (const line of linesOf(file, this.#bytes)) {
        await this.#take(out, line, from)
        if (out.signal.aborted && this.#here().order >= (from?.order ?? '')) return
      }
      const heartbeat = { _tag: 'Heartbeat', position: this.#here(), timeMs: this.#context!.now() } as const
      if (heartbeat.position.order < (from?.order ?? '')) throw this.#lost()
      await this.#send(out, RecordBatch.ofHeartbeat(heartbeat))
      await delay(100, undefined, { signal: out.signal }).catch(() => {})
    } while (!out.signal.aborted)
  }
  async checkpoint() {}
  currentPosition() {
    return this.#position
  }
  async headPosition() {
    await using file = await this.#open()
    return this.#here((await file.stat()).size)
  }
  async disconnect() {}

  #selects({ namespace, name }: TableSchema): boolean {
    return this.#context!.tables.includes(namespace, name)
  }
  #here(bytes = this.#bytes): SourcePosition {
    return { order: String(bytes).padStart(16, '0'), resume: this.#hash.copy().digest('base64url') }
  }
  #lost(): PositionLostError {
    const fix = 'Remove the checkpoint of the pipeline and its target tables, to read all of it again.'
    return new PositionLostError('jsonl/position-lost', `${this.#path} was replaced or cut`, { fix })
  }

  /** The file, as long as it is the one that was read so far. */
  async #open(): Promise<FileHandle> {
    const file = await open(this.#path).catch((cause: unknown) => {
      const fix = 'Make it, empty if need be, where this process may read it.'
      throw new ConnectionError('jsonl/unreadable', `${this.#path} cannot be read`, { cause, fix })
    })
    const { ino, size } = await file.stat()
    if ((this.#inode ??= ino) === ino && size >= this.#bytes) return file
    await file.close()
    throw this.#lost()
  }

  /** Goes past a line. Gives the table that it declares, if it does. */
  #pass(line: Buffer): TableSchema | null {
    this.#hash.update(line)
    this.#bytes += line.length
    this.#lines++
    const found = line.includes('"columns"') ? (parseJson(line) as Declaration) : null
    // A second declaration is no declaration, and no change either: nobody would know which one counts.
    if (found?.columns === undefined || this.#tables.has(found.table)) return null
    const table = declareTable(found.table, found)
    this.#tables.set(found.table, table)
    return table
  }

  async #take(out: BatchWriter, line: Buffer, from: SourcePosition | null): Promise<void> {
    try {
      const isOld = from !== null && this.#here().order < from.order
      const table = this.#pass(line)
      const position = this.#here()
      if (isOld && position.order >= from.order && position.resume !== from.resume) throw this.#lost()
      if (table !== null && this.#selects(table))
        await this.#send(out, RecordBatch.ofTable('create-table', table, 'stream', isOld ? null : position))
      if (table !== null || isOld) return
      const changes = [parseJson(line) as Change | readonly Change[]].flat()
      const commitTimeMs = changes.at(-1)?.timestamp ?? null
      this.#builder.begin({ id: position.order, commitTimeMs, version: BigInt(this.#bytes) << 16n })
      for (const change of changes) {
        const table = tableOf(this.#tables, change)
        if (this.#selects(table)) addChange(this.#builder, table, change)
        if (this.#builder.byteSize >= 65_536) await this.#send(out)
      }
      this.#builder.commit(position)
    } catch (error) {
      if (error instanceof CoreError) error.message += ` (line ${this.#lines} of ${this.#path})`
      throw error
    }
  }

  /** What is collected, and then this. */
  async #send(out: BatchWriter, last: RecordBatch | null = null): Promise<void> {
    for (const batch of [this.#builder.take(), last]) {
      this.#position = batch?.position ?? this.#position
      if (batch !== null) await handOver(out, batch)
    }
  }
}

/** Complete lines from a byte on. A last one without its end waits. */
async function* linesOf(file: FileHandle, start: number): AsyncGenerator<Buffer, void, undefined> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of file.createReadStream({ start, autoClose: false, highWaterMark: 2 ** 20 })) {
    rest = Buffer.concat([rest, chunk as Buffer])
    for (let end; (end = rest.indexOf('\n') + 1) > 0; rest = rest.subarray(end)) yield rest.subarray(0, end)
  }
}

const config = fields.struct({ path: fields.text().pipe(fields.described('The file.')) })
const load = async () => (options: typeof config.Type) => new JsonlSource(options.path)
export const sources = [defineSource({ type: 'jsonl', summary: 'A file of JSON lines', config, load })]
