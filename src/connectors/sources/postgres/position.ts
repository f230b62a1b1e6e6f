/**
 * LSNs and positions. An LSN is a place in the WAL, 64 bits; here a bigint where it is rare and two unsigned 32-bit
 * halves where it is per transaction (PostgreSQL documentation, section 8.20, `pg_lsn`).
 */
import { InternalError } from '../../../core/error.ts'
import type { Json, SourcePosition } from '../../../core/position.ts'
import type { TableSchema } from '../../../core/table.ts'

/** `16/B374D848` to a number. */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (match === null) throw new InternalError('postgres/lsn', `"${text}" is not an LSN`)
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

/** `16/B374D848`, as the server prints it. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

/**
 * Rows of a commit at `lsn` have the versions `lsn << 12` and up, at most this many more. A commit record takes at
 * least 32 bytes, so the next commit's versions begin 2^17 higher or more; rows beyond share the last version, and
 * the one written last wins. LSNs up to 4 PiB of WAL fit into 64 bits.
 */
export const ORDINAL_LIMIT = (1 << 17) - 1
const VERSION_SHIFT = 12n
const LARGEST_LSN = (1n << (64n - VERSION_SHIFT)) - 1n

/** Version of the first row of the transaction whose commit record starts at `lsn`. */
export function versionAt(lsn: bigint): bigint {
  if (lsn > LARGEST_LSN) throw lsnTooLarge(lsn)
  return lsn << VERSION_SHIFT
}

/** Version of every row of a copy whose snapshot was taken at `lsn`: above all earlier commits, below all later ones. */
export function snapshotVersion(lsn: bigint): bigint {
  return versionAt(lsn) - 1n
}

function lsnTooLarge(lsn: bigint): InternalError {
  return new InternalError(
    'postgres/lsn',
    `the LSN ${formatLsn(lsn)} is beyond what row versions can express`,
    {
      fix: 'Move the database to a new cluster (dump and restore, or logical replication), where LSNs begin anew, and copy again.',
    },
  )
}

/** What the source knew about a table at a position; part of every position, so that schema and log never disagree. */
export interface StoredTable {
  /** pg_class.oid. */
  readonly oid: number
  /** LSN of the snapshot that the table was copied from; null when it has to be copied. */
  readonly copiedAt: string | null
  readonly schema: TableSchema
  /** Type OID and modifier per column, to recognise the schema in Relation messages. */
  readonly types: readonly (readonly [oid: number, modifier: number])[]
  /** pg_class.relfilenode when the schema was read: another one means that the table may have been rewritten since. */
  readonly file: number
  /** Highest attribute number so far, dropped columns included: the next column that is added gets the next one. */
  readonly lastNumber: number
  /** Its entry in the publication when it was copied: with another one, changes are missing from the log. */
  readonly membership: string
  /** By column id, the transaction that changed its catalog row last (pg_attribute.xmin). */
  readonly changedBy: Readonly<Record<string, string>>
}

/** `resume` of a position. */
export interface Resume {
  /** The stream continues with the first commit at or after this LSN. */
  readonly lsn: string
  /** System identifier of the cluster: LSNs of another one mean nothing. */
  readonly system: string
  /** By `namespace.name`. */
  readonly tables: Readonly<Record<string, StoredTable>>
}

/** Order of positions: 16 hex digits of the LSN, then the step of a copy that goes on from there, 0 in the stream. */
export function streamPosition(
  high: number,
  low: number,
  system: string,
  tables: Resume['tables'],
): SourcePosition {
  return new LsnPosition(high, low, system, tables, '00000000')
}

/** A place between transactions, as `pg_lsn` has it. */
export function positionAt(lsn: string, system: string): SourcePosition {
  const [high, low] = halves(parseLsn(lsn))
  return streamPosition(high, low, system, {})
}

/** A position while tables are copied: `step` counts the tables that are done, from 1. */
export function copyPosition(
  lsn: bigint,
  step: number,
  system: string,
  tables: Resume['tables'],
): SourcePosition {
  const [high, low] = halves(lsn)
  return new LsnPosition(high, low, system, tables, step.toString(16).padStart(8, '0'))
}

/** The step of a position that was made by `copyPosition`, else 0. */
export function copyStep(position: SourcePosition): number {
  return Number.parseInt(position.order.slice(17), 16) || 0
}

export function halves(lsn: bigint): [high: number, low: number] {
  return [Number(lsn >> 32n), Number(lsn & 0xffffffffn)]
}

/** Reads what `resume` holds. Throws when it was not made by this source. */
export function readResume(position: SourcePosition): Resume {
  const resume = position.resume as unknown as Partial<Resume> | null
  if (
    resume === null ||
    typeof resume !== 'object' ||
    typeof resume.lsn !== 'string' ||
    typeof resume.tables !== 'object' ||
    resume.tables === null
  ) {
    throw new InternalError('postgres/position', 'the stored position was not written by a postgres source', {
      fix: 'Give this pipeline its own name or its own checkpoint store.',
    })
  }
  return resume as Resume
}

/** The same place, where these tables (`namespace.name`) are not known: a stream from there copies them. */
export function withoutTables(position: SourcePosition, names: readonly string[]): SourcePosition {
  const resume = readResume(position)
  const tables = Object.fromEntries(Object.entries(resume.tables).filter(([name]) => !names.includes(name)))
  const { order } = position
  return { order, resume: { ...resume, tables } as unknown as Json, partial: true }
}

/** Made per transaction, formatted only when somebody looks. */
class LsnPosition implements SourcePosition {
  readonly #high: number
  readonly #low: number
  readonly #system: string
  readonly #tables: Resume['tables']
  readonly #step: string

  constructor(high: number, low: number, system: string, tables: Resume['tables'], step: string) {
    this.#high = high
    this.#low = low
    this.#system = system
    this.#tables = tables
    this.#step = step
  }

  get order(): string {
    return `${hex8(this.#high)}${hex8(this.#low)}.${this.#step}`
  }

  get partial(): true | undefined {
    const { from, high, low } = wholeOf(this.#tables)
    const before = this.#high < high || (this.#high === high && this.#low < low)
    return from === null || before ? true : undefined
  }

  get resume(): Json {
    const lsn = `${this.#high.toString(16).toUpperCase()}/${this.#low.toString(16).toUpperCase()}`
    return { lsn, system: this.#system, tables: this.#tables } as unknown as Json
  }

  toJSON(): SourcePosition {
    const { order, resume, partial } = this
    return partial === true ? { order, resume, partial } : { order, resume }
  }
}

/** Lists of tables are never changed, and one serves many positions. */
const wholeByTables = new WeakMap<Resume['tables'], Whole>()

interface Whole {
  /** Null while a table has to be copied. */
  readonly from: bigint | null
  readonly high: number
  readonly low: number
}

/**
 * From where on the tables are, all together, as the database had them: the place of their latest copy, 0 without any
 * table; null while one of them has to be copied.
 */
export function wholeFrom(tables: Resume['tables']): bigint | null {
  return wholeOf(tables).from
}

function wholeOf(tables: Resume['tables']): Whole {
  const known = wholeByTables.get(tables)
  if (known !== undefined) return known
  let from: bigint | null = 0n
  for (const { copiedAt } of Object.values(tables)) {
    if (copiedAt === null) from = null
    if (copiedAt === null || from === null) break
    const place = parseLsn(copiedAt)
    if (place > from) from = place
  }
  const [high, low] = halves(from ?? 0n)
  const whole = { from, high, low }
  wholeByTables.set(tables, whole)
  return whole
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0')
}
