/** What one kind of subscriber sees of the log: names, tables, columns and rows. Compiled once per table version. */
import type { FrameBuffer } from './frame-buffer.ts'
import { EntryKind, type LogEvent } from './log-messages.ts'
import type { Entry } from './log-reader.ts'
import * as messages from './messages.ts'
import type { Publications, TableView } from './publications.ts'
import { RecordReader } from './record-reader.ts'
import { RowFrames } from './row-frames.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'

export interface ViewOptions {
  /** Names of publications that were asked for; none is everything. */
  readonly publications: readonly string[]
  /** Columns that Zero needs in a table and the source does not have; they are NULL. */
  extraColumns(version: TableVersion): readonly VersionColumn[]
  /** Tables that are seen whatever the publications say. */
  isInternal(version: TableVersion): boolean
  /** The table of permissions, for changes to them that come from elsewhere. */
  permissions(permissions: string | null, hash: string | null): readonly string[]
}

export interface TableInView {
  readonly version: TableVersion
  readonly view: TableView
  readonly frames: RowFrames
}

export class View {
  readonly #options: ViewOptions
  readonly #publications: Publications
  readonly #versionOf: (id: number) => TableVersion
  readonly #tables = new Map<number, TableInView | null>()
  readonly #record = new RecordReader()

  constructor(options: ViewOptions, publications: Publications, versionOf: (id: number) => TableVersion) {
    this.#options = options
    this.#publications = publications
    this.#versionOf = versionOf
  }

  /** A table version by its number; null when it is not seen. */
  table(id: number): TableInView | null {
    let table = this.#tables.get(id)
    if (table === undefined) this.#tables.set(id, (table = this.compile(this.#versionOf(id))))
    return table
  }

  compile(version: TableVersion): TableInView | null {
    const names = this.#options.isInternal(version) ? [] : this.#options.publications
    const view = this.#publications.view(names, version)
    return view && { version, view, frames: new RowFrames(version, view, version) }
  }

  /** The messages that make a table. */
  create({ version, view }: TableInView): readonly string[] {
    const positions = messages.positionsOf(version)
    const columns = [...version.key, ...view.slots.map((slot) => version.slots[slot]!)]
    const extra = this.#options.extraColumns(version)
    const last = version.key.length + version.slots.length
    return messages.createTable(version, version.key, [
      ...columns.map((column) => ({ ...column, pos: positions.get(column)! })),
      ...extra.map((column, index) => ({ ...column, pos: last + index + 1 })),
    ])
  }

  /** Writes the messages of an entry. */
  entry(entry: Entry, out: FrameBuffer): void {
    if (entry.kind === EntryKind.event) this.#event(entry, out)
    else this.#rows(entry, out)
  }

  #rows({ body, masks }: Entry, out: FrameBuffer): void {
    const record = this.#record
    const bits = masks === null ? null : new Uint32Array(masks.slice().buffer)
    record.reset(body)
    for (let index = 0; record.next(); index += 2) {
      const frames = this.table(record.table)?.frames
      if (frames === undefined) continue
      const op =
        bits === null
          ? frames.filtered
            ? null
            : record.op
          : frames.visible(record.op, bits[index]!, bits[index + 1]!)
      if (op !== null) frames.record(record, op, out)
    }
  }

  #event({ body }: Entry, out: FrameBuffer): void {
    const event = JSON.parse(Buffer.from(body).toString()) as LogEvent
    for (const message of this.#messagesOf(event)) out.message(message)
  }

  #messagesOf(event: LogEvent): readonly string[] {
    switch (event.kind) {
      case 'create-table': {
        const table = this.table(event.to)
        return table === null ? [] : this.create(table)
      }
      case 'drop-table': {
        const table = this.table(event.from)
        return table === null ? [] : messages.dropTable(table.version)
      }
      case 'truncate': {
        const table = this.table(event.from)
        return table === null ? [] : [messages.truncate(table.version, table.version.key)]
      }
      case 'schema':
        return this.#schema(event)
      case 'permissions':
        return this.#options.permissions(event.permissions, event.hash)
    }
  }

  #schema({ from, to, steps }: Extract<LogEvent, { kind: 'schema' }>): readonly string[] {
    const before = this.table(from)
    const after = this.table(to)
    if (before === null || after === null) return []
    const positions = messages.positionsOf(after.version)
    return steps.flatMap((step) => {
      switch (step.kind) {
        case 'add-column': {
          if (!after.view.slots.includes(step.slot)) return []
          const slot = after.version.slots[step.slot]!
          const dflt = slot.missing === null ? null : messages.literalDefault(slot, slot.missing)
          return [messages.addColumn(after.version, slot, positions.get(slot)!, dflt)]
        }
        case 'drop-column': {
          const slot = before.version.slots.findIndex((one) => one?.id === step.id)
          return before.view.slots.includes(slot) ? [messages.dropColumn(after.version, step.name)] : []
        }
        case 'change-column': {
          const was = this.#seen(before, step.from)
          const is = this.#seen(after, step.id)
          if (was === null || is === null) return []
          return [messages.changeColumn(after.version, was, is, positions.get(is)!)]
        }
      }
    })
  }

  #seen({ version, view }: TableInView, id: string): VersionColumn | null {
    const inKey = version.key.find((column) => column.id === id)
    if (inKey !== undefined) return inKey
    return view.slots.map((slot) => version.slots[slot]!).find((slot) => slot.id === id) ?? null
  }
}
