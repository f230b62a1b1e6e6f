/** What a zero-cache sees: the view of its publications, and the tables that it demands of every source. */
import type { FrameBuffer } from './frame-buffer.ts'
import {
  addedColumns,
  type InternalColumn,
  internalRole,
  type InternalTable,
  internalTables,
  isInternal,
  type Shard,
} from './internal-tables.ts'
import type { Permissions, Watermark } from './log-messages.ts'
import type { Entry } from './log-reader.ts'
import * as messages from './messages.ts'
import { NO_PERMISSIONS } from './permissions.ts'
import type { Publications } from './publications.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'
import { type TableInView, View } from './view.ts'

export class ZeroView {
  readonly #shard: Shard
  readonly #names: readonly string[]
  readonly #view: View

  constructor(
    shard: Shard,
    names: readonly string[],
    publications: Publications,
    versionOf: (id: number) => TableVersion,
  ) {
    this.#shard = shard
    this.#names = names
    const options = {
      publications: names,
      isInternal: (version: TableVersion) => isInternal(shard, version),
      extraColumns: (version: TableVersion) => {
        const role = isInternal(shard, version) ? internalRole(version) : null
        return role === null ? [] : addedColumns(role, version).map(versionColumn)
      },
      permissions: (permissions: string | null, hash: string | null) => [
        this.#permissionsRow('update', { permissions, hash }),
      ],
    }
    this.#view = new View(options, publications, versionOf)
  }

  entry(entry: Entry, out: FrameBuffer): void {
    this.#view.entry(entry, out)
  }

  /** A table of a snapshot; null when it is not seen. */
  table(version: TableVersion): TableInView | null {
    return this.#view.compile(version)
  }

  create(table: TableInView): readonly string[] {
    return this.#view.create(table)
  }

  /** Messages that make the demanded tables which the source does not have. */
  missingTables(versions: readonly TableVersion[], permissions: Permissions | null): readonly string[] {
    const missing = internalTables(this.#shard).filter(
      ({ schema, name }) => !versions.some((version) => version.schema === schema && version.name === name),
    )
    return missing.flatMap((table) => {
      const made = this.#view.create(this.#view.compile(internalVersion(table))!)
      return table.role === 'permissions'
        ? [...made, this.#permissionsRow('insert', permissions ?? NO_PERMISSIONS)]
        : made
    })
  }

  /** Why a subscriber with this watermark has to begin anew: what it asks for is defined otherwise since; null if not. */
  changedSince(after: Watermark, since: (publication: string) => Watermark | null): string | null {
    const changed = this.#names.filter((name) => (since(name) ?? 0) > after)
    return changed.length === 0 ? null : `the publication ${changed.join(', ')} was changed`
  }

  #permissionsRow(tag: 'insert' | 'update', { permissions, hash }: Permissions): string {
    const table = internalTables(this.#shard).find(({ role }) => role === 'permissions')!
    const relation = messages.relation(table, [{ name: 'lock' }])
    const row = { lock: true, permissions, hash }
    return messages.data(
      tag === 'insert' ? { tag, relation, new: row } : { tag, relation, key: null, new: row },
    )
  }
}

/** A demanded table as if the source had it. */
function internalVersion({ schema, name, columns, key }: InternalTable): TableVersion {
  const isKey = (column: InternalColumn): boolean => key.includes(column.name)
  return {
    source: `${schema}.${name}`,
    schema,
    name,
    key: columns.filter(isKey).map(versionColumn),
    slots: columns
      .filter((column) => !isKey(column))
      .map((column) => ({ ...versionColumn(column), missing: null })),
  }
}

function versionColumn({ name, dataType, notNull }: InternalColumn): VersionColumn {
  return { id: name, name, dataType, notNull, encoding: 'string' }
}
