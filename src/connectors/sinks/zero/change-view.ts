/** What one kind of consumer sees of the log: some tables, and what its publications show of them. */
import { ChangeFrames } from './change-frames.ts'
import type { FrameBuffer } from './frame-buffer.ts'
import { type GatewayRequest, isNamed, shownName } from './gateway-request.ts'
import { EntryKind, type LogEvent, type Watermark } from './log-messages.ts'
import type { Entry } from './log-reader.ts'
import { watermarkText } from './messages.ts'
import type { Publications, TableView } from './publications.ts'
import { RecordReader } from './record-reader.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'
import { zqlType } from './types.ts'

export interface SeenTable {
  readonly version: TableVersion
  readonly view: TableView
  readonly frames: ChangeFrames
}

export class ChangeView {
  readonly #tables: readonly string[] | null
  readonly #publications: Publications
  readonly #asked: readonly string[]
  readonly #versionOf: (id: number) => TableVersion
  readonly #byId = new Map<number, SeenTable | null>()
  readonly #record = new RecordReader()

  constructor(
    { tables, publications: asked }: Pick<GatewayRequest, 'tables' | 'publications'>,
    publications: Publications,
    versionOf: (id: number) => TableVersion,
  ) {
    this.#tables = tables
    this.#asked = asked
    this.#publications = publications
    this.#versionOf = versionOf
  }

  /** True when the publications show something of the table, asked for or not. */
  shows(version: TableVersion): boolean {
    return this.#publications.view(this.#asked, version) !== null
  }

  /** Null when the table is not seen. */
  compile(version: TableVersion): SeenTable | null {
    if (this.#tables !== null && !isNamed(version, this.#tables)) return null
    const view = this.#publications.view(this.#asked, version)
    return view && { version, view, frames: new ChangeFrames(version, view) }
  }

  /** Writes the messages of an entry. `begin` is called before each. */
  entry(entry: Entry, begin: () => void, out: FrameBuffer): void {
    if (entry.kind === EntryKind.event) {
      const message = this.#event(JSON.parse(Buffer.from(entry.body).toString()) as LogEvent)
      if (message === null) return
      begin()
      out.message(message)
    } else this.#rows(entry, begin, out)
  }

  #rows({ body, masks }: Entry, begin: () => void, out: FrameBuffer): void {
    const record = this.#record
    const bits = masks === null ? null : new Uint32Array(masks.slice().buffer)
    record.reset(body)
    for (let index = 0; record.next(); index += 2) {
      const frames = this.#table(record.table)?.frames
      if (frames === undefined || (bits === null && frames.filtered)) continue
      const op = bits === null ? record.op : frames.visible(record.op, bits[index]!, bits[index + 1]!)
      if (op === null) continue
      begin()
      frames.record(record, op, out)
    }
  }

  #event(event: LogEvent): string | null {
    switch (event.kind) {
      case 'create-table':
        return this.#told(event.to, (table) => schema(table, []))
      case 'drop-table':
        return this.#told(event.from, ({ version }) => simple('drop', version))
      case 'truncate':
        return this.#told(event.from, ({ version }) => simple('truncate', version))
      case 'schema':
        return this.#told(event.to, (table) =>
          schema(table, renames(this.#versionOf(event.from), event.steps, table)),
        )
      case 'permissions':
        return null
    }
  }

  #told(id: number, message: (table: SeenTable) => string): string | null {
    const table = this.#table(id)
    return table === null ? null : message(table)
  }

  #table(id: number): SeenTable | null {
    let table = this.#byId.get(id)
    if (table === undefined) this.#byId.set(id, (table = this.compile(this.#versionOf(id))))
    return table
  }
}

/** A column got another name and keeps its values. */
interface Rename {
  readonly from: string
  readonly to: string
}

/** The columns of a table as they are from here on. */
export function schema({ version, view }: SeenTable, renamed: readonly Rename[]): string {
  const column = (of: VersionColumn) => ({
    name: of.name,
    type: of.dataType,
    json: zqlType(of),
    nullable: !of.notNull,
  })
  const slots = view.slots.map((slot) => column(version.slots[slot]!))
  return JSON.stringify({
    type: 'schema',
    table: shownName(version),
    key: version.key.map(({ name }) => name),
    columns: [...version.key.map(column), ...slots],
    ...(renamed.length > 0 && { renamed }),
  })
}

function renames(
  before: TableVersion,
  steps: Extract<LogEvent, { kind: 'schema' }>['steps'],
  { version, view }: SeenTable,
): readonly Rename[] {
  const seen = [...version.key, ...view.slots.map((slot) => version.slots[slot]!)]
  return steps.flatMap((step) => {
    if (step.kind !== 'change-column') return []
    const from = [...before.key, ...before.slots].find((column) => column?.id === step.from)?.name
    const to = seen.find((column) => column.id === step.id)?.name
    return from === undefined || to === undefined || from === to ? [] : [{ from, to }]
  })
}

function simple(type: 'drop' | 'truncate', version: TableVersion): string {
  return JSON.stringify({ type, table: shownName(version) })
}

/** What stands between changes. `time`: of the commit in the source, milliseconds since 1970 UTC. */
export function mark(
  type: 'begin' | 'commit' | 'snapshot-begin' | 'snapshot-end' | 'watermark',
  watermark: Watermark,
  time: number | null = null,
): string {
  return JSON.stringify({ type, watermark: watermarkText(watermark), ...(time !== null && { time }) })
}
