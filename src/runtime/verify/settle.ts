/**
 * Finds out about rows that seemed to differ. Both sides move on while they are read, so a row counts as different only
 * when the sink had passed the source's state and had written nothing under that key since before it was read.
 */
import { CoreError, toCoreError } from '../../core/error.ts'
import {
  copyKey,
  noKeys,
  type PackedKeys,
  type RowReader,
  type SourceSnapshot,
} from '../../core/row-reader.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import { directiveFor } from '../policy.ts'
import type { Gate } from './gate.ts'
import { idOf } from './row-hash.ts'
import type { Sides } from './sides.ts'

/** What keeps a table from being looked at: problems of the sink's, or an error that passes. */
export type Obstacle = readonly string[] | CoreError

/** After so many looks a row that changes all the time is left as unsettled. */
const MAX_LOOKS = 6

/** Why a table is not compared any further. */
export const GONE = 'it was dropped, taken out of the pipeline or given another key while it was compared'

export type DifferenceKind = 'missing' | 'extra' | 'different'

/** Rows of one table that seem to differ. `table` is of the snapshot that they were found in. */
export interface Suspects {
  readonly table: TableSchema
  readonly keys: PackedKeys
}

/** What is certain about the suspects of one table. */
export interface Settled {
  /** The table as the source had it last. */
  table: TableSchema
  /** The rows that differ, and how. */
  readonly keys: PackedKeys
  readonly kinds: DifferenceKind[]
  /** Names of columns whose values differ, with the number of rows. */
  readonly columns: Map<string, number>
  /** Rows that changed at every look. */
  unsettled: number
  /** Why the suspects could not be looked at. */
  readonly problems: string[]
}

/** A row as far as it has to be remembered. */
interface RowState {
  readonly first: number
  readonly second: number
  /** Hashes of the columns, two halves each. */
  readonly columns: Int32Array
}

/** What one look has shown, by the id of the key. */
interface Look {
  readonly source: ReadonlyMap<number, RowState>
  readonly sink: ReadonlyMap<number, RowState>
}

/** The suspects of a table that are not settled yet. */
interface Open {
  readonly settled: Settled
  looks: number
  keys: PackedKeys
  /** What the sink had written last under each key, before the look; null when it cannot say. */
  stamps: readonly string[] | null
  before: Look | null
}

/**
 * Looks at suspects, by table, until all are settled or have changed too often. `wait` is asked to wait a moment for a
 * table that could not be read, or that the sink does not have as the source does; false when it will wait no longer.
 */
export async function settle(
  suspects: readonly Suspects[],
  sides: Sides,
  gate: Gate,
  wait: (obstacle: Obstacle) => Promise<boolean>,
): Promise<readonly Settled[]> {
  const all = suspects.map(({ table, keys }): Open => ({
    settled: { table, keys: noKeys(), kinds: [], columns: new Map(), unsettled: 0, problems: [] },
    keys,
    looks: 0,
    stamps: null,
    before: null,
  }))
  for (const one of all) {
    one.keys = await unique(one, sides)
    one.stamps = await stampsOf(one, sides)
  }
  for (;;) {
    const open = all.filter(({ keys, looks }) => keys.rowCount > 0 && looks < MAX_LOOKS)
    if (open.length === 0) break
    const obstacles = await look(open, sides, gate)
    for (const [one, obstacle] of obstacles) {
      if (await wait(obstacle)) continue
      if (obstacle instanceof CoreError) throw obstacle
      giveUp(one, obstacle)
    }
  }
  for (const { settled, keys } of all) settled.unsettled = keys.rowCount
  return all.map(({ settled }) => settled)
}

function giveUp(one: Open, problems: readonly string[]): void {
  one.settled.problems.push(...problems)
  one.keys = noKeys()
}

/** A key may have been noticed on both sides, in two ranges. */
async function unique({ settled: { table }, keys }: Open, sides: Sides): Promise<PackedKeys> {
  const hasher = await sides.hasher(table)
  const rows = new Map(
    Array.from({ length: keys.rowCount }, (_, row) => [hasher.keyId(keys, row), row] as const),
  )
  if (rows.size === keys.rowCount) return keys
  const once = noKeys()
  for (const row of rows.values()) copyKey(once, table, keys, row)
  return once
}

/**
 * The source, and then the sink once it has passed what the source showed. The snapshot is given back before that: the
 * pipeline may wait for somebody who waits for our locks. Returns what kept tables from being looked at.
 */
async function look(open: readonly Open[], sides: Sides, gate: Gate): Promise<ReadonlyMap<Open, Obstacle>> {
  const obstacles = new Map<Open, Obstacle>()
  const source = new Map<Open, ReadonlyMap<number, RowState>>()
  const position = await sides.fresh(false, async (snapshot) => {
    for (const one of open) {
      if (!follow(one, snapshot)) continue
      const { problems } = await sides.describe(one.settled.table)
      const rows = problems.length > 0 ? problems : await unlessPassing(statesOf(snapshot, one, sides))
      if (rows instanceof Map) source.set(one, rows)
      else obstacles.set(one, rows as Obstacle)
    }
    return snapshot.position
  })
  await gate.passed(position)
  for (const [one, rows] of source) {
    const done = await unlessPassing(judge(one, rows, sides))
    if (done instanceof CoreError) obstacles.set(one, done)
    else one.looks++
  }
  return obstacles
}

/** A table that is altered or emptied while it is read is read again; the others need not be. */
async function unlessPassing<A>(work: Promise<A>): Promise<A | CoreError> {
  try {
    return await work
  } catch (thrown) {
    const error = toCoreError(thrown)
    if (directiveFor(error, 'call') === 'halt') throw error
    return error
  }
}

/** Takes the table as the snapshot has it; false when that makes no sense any more. */
function follow(one: Open, snapshot: SourceSnapshot): boolean {
  const { settled } = one
  const table = snapshot.tables.find((candidate) => tableName(candidate) === tableName(settled.table))
  if (table === undefined || keyShape(table) !== keyShape(settled.table)) {
    giveUp(one, [GONE])
    return false
  }
  settled.table = table
  return true
}

/** Tells whether keys of two versions of a table mean the same. */
export function keyShape({ columns, key }: TableSchema): string {
  return JSON.stringify(key.map((index) => [columns[index]!.id, columns[index]!.type]))
}

async function stampsOf(
  { settled: { table }, keys }: Open,
  { sink }: Sides,
): Promise<readonly string[] | null> {
  return (await sink.stamps?.(table, keys)) ?? null
}

async function statesOf(
  reader: RowReader,
  { settled: { table }, keys }: Open,
  sides: Sides,
): Promise<ReadonlyMap<number, RowState>> {
  const hasher = await sides.hasher(table)
  const asked = new Set(Array.from({ length: keys.rowCount }, (_, row) => hasher.keyId(keys, row)))
  const states = new Map<number, RowState>()
  await reader.find(table, keys, (rows) => {
    for (let row = 0; row < rows.rowCount; row++) {
      const first = rows.newImage[row]!
      hasher.hash(rows, first)
      const id = idOf(hasher.result)
      if (!asked.has(id)) continue
      const [, , a, b] = hasher.result
      // A key that is there twice is like no row of the source.
      const twice = states.get(id)?.first ?? 0
      states.set(id, { first: (a! + twice) | 0, second: b!, columns: hasher.columns(rows, first) })
    }
  })
  return states
}

/** Looks at the sink and sorts out what is certain; the rest stays open for the next look. */
async function judge(one: Open, source: ReadonlyMap<number, RowState>, sides: Sides): Promise<void> {
  const { settled, keys, before } = one
  const now = { source, sink: await statesOf(sides.sink, one, sides) }
  const stamps = await stampsOf(one, sides)
  const hasher = await sides.hasher(settled.table)
  const left = noKeys()
  const leftStamps: string[] = []
  for (let row = 0; row < keys.rowCount; row++) {
    const id = hasher.keyId(keys, row)
    const wanted = now.source.get(id)
    const found = now.sink.get(id)
    if (isSame(wanted, found)) continue
    const isStill =
      stamps === null
        ? before !== null && isSame(wanted, before.source.get(id)) && isSame(found, before.sink.get(id))
        : stamps[row] === one.stamps![row]
    if (isStill) note(settled, keys, row, wanted, found)
    else {
      copyKey(left, settled.table, keys, row)
      if (stamps !== null) leftStamps.push(stamps[row]!)
    }
  }
  one.keys = left
  one.stamps = stamps === null ? null : leftStamps
  one.before = now
}

function isSame(a: RowState | undefined, b: RowState | undefined): boolean {
  return a?.first === b?.first && a?.second === b?.second
}

function note(
  settled: Settled,
  keys: PackedKeys,
  row: number,
  source: RowState | undefined,
  sink: RowState | undefined,
): void {
  const { table, columns } = settled
  copyKey(settled.keys, table, keys, row)
  settled.kinds.push(source === undefined ? 'extra' : sink === undefined ? 'missing' : 'different')
  if (source === undefined || sink === undefined) return
  for (const [index, { name }] of table.columns.entries()) {
    const at = index * 2
    if (source.columns[at] === sink.columns[at] && source.columns[at + 1] === sink.columns[at + 1]) continue
    columns.set(name, (columns.get(name) ?? 0) + 1)
  }
}
