/** What a change of a source table's schema makes of its version. Pure. */
import type { Problem } from '../../../core/error.ts'
import type { SchemaChange } from '../../../core/record.ts'
import type { Column } from '../../../core/table.ts'
import { jsonText } from './cell-writers.ts'
import { CellRefused } from './cells.ts'
import { checkTableNames } from './names.ts'
import { type PlanOptions, planTable, type WantedTable } from './plan.ts'
import type { Slot, TableVersion, VersionColumn } from './table-version.ts'

/** `id` is that in the version after the change (before it, of a dropped column). */
export type EvolutionStep =
  | { readonly kind: 'add-column'; readonly slot: number }
  | { readonly kind: 'drop-column'; readonly id: string; readonly name: string }
  /**
   * Another name, other NULLs or another type whose values are written alike; the column keeps its place in the key or
   * its slot. `from` is its id before, which differs where the ids of the source are names.
   */
  | { readonly kind: 'change-column'; readonly id: string; readonly from: string }

export type Evolution =
  /** Nothing that Zero sees. The version is the one that was given. */
  | { readonly kind: 'same'; readonly version: TableVersion; readonly problems: readonly Problem[] }
  /**
   * Stored rows stay as they are. Steps are in an order in which no name is ever taken twice. `fill`: rows that exist
   * show a value, not NULL, in a column that is new.
   */
  | {
      readonly kind: 'evolve'
      readonly version: TableVersion
      readonly steps: readonly EvolutionStep[]
      readonly fill: boolean
      readonly problems: readonly Problem[]
    }
  /** Stored rows must be written anew, see `convert-rows.ts`. */
  | { readonly kind: 'convert'; readonly version: TableVersion; readonly problems: readonly Problem[] }
  /** Nobody knows what stored rows have in `columns` (names): only a copy of the table tells. */
  | {
      readonly kind: 'copy'
      readonly version: TableVersion
      readonly columns: readonly string[]
      readonly problems: readonly Problem[]
    }
  /** The table cannot be served any more. */
  | { readonly kind: 'refused'; readonly problems: readonly Problem[] }

/**
 * Brings a version to the schema that `change.table` is. A change that announces the table again (`create-table`) finds
 * whatever differs by now, options included. `problems` of an outcome other than `refused` are warnings: what a client's
 * schema wants and the source no longer has stops the next start, not the pipeline.
 */
export function evolve(
  version: TableVersion,
  change: Pick<SchemaChange, 'change' | 'table'>,
  options: PlanOptions,
  wanted: WantedTable | null,
): Evolution {
  const operation = change.change
  switch (operation.kind) {
    case 'truncate':
    case 'drop-table':
      return { kind: 'same', version, problems: [] }
    case 'rename-column': {
      const known = columnsOf(version).some(({ id }) => id === operation.from.id)
      if (known) return renamed(version, operation.from, operation.to, change, options)
      break
    }
    case 'create-table':
    case 'add-column':
    case 'drop-column':
    case 'alter-column':
    case 'change-key':
      break
  }
  // A column that was renamed belongs until the next start, even if nobody wants its new name.
  const kept = operation.kind === 'create-table' ? [] : columnsOf(version).map(({ id }) => id)
  const plan = planTable(change.table, options, wanted, new Set(kept))
  if (plan.version === null) return { kind: 'refused', problems: plan.problems }
  const problems = plan.problems.map((problem): Problem => ({ ...problem, severity: 'warning' }))
  const added = operation.kind === 'add-column' ? operation.column : null
  return { ...difference(version, plan.version, added, problems), problems }
}

type Outcome = Evolution extends infer E ? (E extends Evolution ? Omit<E, 'problems'> : never) : never

/** From `before` to `after`, whose slots are in column order; `added` is new whatever its id was used for. */
function difference(
  before: TableVersion,
  after: TableVersion,
  added: Column | null,
  problems: Problem[],
): Outcome {
  const known = new Map(columnsOf(before).map((column) => [column.id, column]))
  if (added !== null) known.delete(added.id)
  const withDefault = (slot: Slot): Slot =>
    slot.id === added?.id ? { ...slot, missing: missingText(slot, added, after, problems) } : slot
  const fresh: TableVersion = { ...after, slots: after.slots.map((slot) => slot && withDefault(slot)) }
  const unknown = columnsOf(after).filter(({ id }) => !known.has(id) && id !== added?.id)
  if (unknown.length > 0) return { kind: 'copy', version: fresh, columns: unknown.map(({ name }) => name) }
  // The column was there before under an id that now means another: by its id a row cannot be converted.
  const replaced = added !== null && columnsOf(before).some(({ id }) => id === added.id)
  const isConverted =
    before.schema !== after.schema ||
    before.name !== after.name ||
    before.key.length !== after.key.length ||
    after.key.some((column, index) => column.id !== before.key[index]!.id) ||
    columnsOf(after).some(({ id, encoding }) => (known.get(id)?.encoding ?? encoding) !== encoding)
  const conversion = (): Outcome =>
    replaced ? { kind: 'copy', version: fresh, columns: [added.name] } : { kind: 'convert', version: fresh }
  if (isConverted) return conversion()

  const now = new Map(columnsOf(fresh).map((column) => [column.id, column]))
  const slots: (Slot | null)[] = before.slots.map((slot) => {
    const column = slot && known.get(slot.id) === slot ? now.get(slot.id) : undefined
    return slot === null || column === undefined ? null : { ...column, missing: slot.missing }
  })
  const steps: EvolutionStep[] = before.slots.flatMap((slot, index) =>
    slot !== null && slots[index] === null ? [{ kind: 'drop-column', id: slot.id, name: slot.name }] : [],
  )
  const changed = columnsOf(before).filter(({ id }) => {
    const next = known.has(id) ? now.get(id) : undefined
    return next !== undefined && shape(next) !== shape(known.get(id)!)
  })
  const ordered = inOrder(
    changed,
    now,
    columnsOf(before).filter(({ id }) => known.has(id) && now.has(id)),
  )
  if (ordered === null) return conversion()
  steps.push(...ordered.map(({ id }) => ({ kind: 'change-column', id, from: id }) as const))
  let fill = false
  for (const slot of fresh.slots) {
    if (slot === null || known.has(slot.id)) continue
    steps.push({ kind: 'add-column', slot: slots.length })
    slots.push(slot)
    fill ||= slot.missing !== null
  }
  if (steps.length === 0) return { kind: 'same', version: before }
  const version: TableVersion = { ...fresh, key: after.key, slots }
  return { kind: 'evolve', version, steps, fill }
}

/** Columns such that each one's new name is free when its turn comes; null when they change places. */
function inOrder(
  changed: readonly VersionColumn[],
  after: ReadonlyMap<string, VersionColumn>,
  present: readonly VersionColumn[],
): VersionColumn[] | null {
  const names = new Map(present.map(({ id, name }) => [id, name.toLowerCase()]))
  const waiting = [...changed]
  const ordered: VersionColumn[] = []
  while (waiting.length > 0) {
    const free = waiting.findIndex(({ id }) => {
      const wanted = after.get(id)!.name.toLowerCase()
      return ![...names].some(([other, name]) => other !== id && name === wanted)
    })
    if (free < 0) return null
    const [column] = waiting.splice(free, 1)
    names.set(column!.id, after.get(column!.id)!.name.toLowerCase())
    ordered.push(column!)
  }
  return ordered
}

/** A renamed column stays what it is, even where options name it otherwise now: that waits for the next start. */
function renamed(
  version: TableVersion,
  from: Column,
  to: Column,
  change: Pick<SchemaChange, 'table'>,
  options: PlanOptions,
): Evolution {
  const rename = <T extends VersionColumn>(column: T): T =>
    column.id === from.id ? { ...column, id: to.id, name: to.name } : column
  const next: TableVersion = {
    ...version,
    key: version.key.map(rename),
    slots: version.slots.map((slot) => slot && rename(slot)),
  }
  const problems = checkTableNames({ ...change.table, columns: columnsOf(next) }, options.defaultNamespace)
  if (problems.length > 0) return { kind: 'refused', problems }
  const isSame = JSON.stringify(next) === JSON.stringify(version)
  if (isSame) return { kind: 'same', version, problems: [] }
  const steps: EvolutionStep[] =
    from.name === to.name ? [] : [{ kind: 'change-column', id: to.id, from: from.id }]
  return { kind: 'evolve', version: next, steps, fill: false, problems: [] }
}

/** JSON text that rows without the column show for it. */
function missingText(slot: Slot, added: Column, table: TableVersion, problems: Problem[]): string | null {
  if (added.addedDefault === undefined || added.addedDefault === null) return null
  try {
    return jsonText(slot.encoding, added.addedDefault)
  } catch (error) {
    if (!(error instanceof CellRefused)) throw error
    problems.push({
      severity: 'warning',
      code: `zero/${error.reason}`,
      message: `the default of column "${slot.name}" of ${table.source} ${error.message}: rows that exist show NULL`,
      fix: error.fix,
    })
    return null
  }
}

/** What Zero is told of a column. */
function shape({ name, dataType, elemPgTypeClass, notNull }: VersionColumn): string {
  return JSON.stringify([name, dataType, elemPgTypeClass ?? null, notNull])
}

/** Columns of the key and of slots, holes left out. */
function columnsOf(version: TableVersion): VersionColumn[] {
  return [...version.key, ...version.slots.filter((slot) => slot !== null)]
}
