/**
 * Cluster times, resume tokens and positions. A cluster time is the BSON timestamp of an oplog entry: seconds since 1970
 * in the upper 32 bits, a counter within the second in the lower; here a bigint where it is rare and two numbers where it
 * is per event. Several events may share one.
 */
import { InternalError } from '../../../core/error.ts'
import type { Json, SourcePosition } from '../../../core/position.ts'
import type { TableSchema } from '../../../core/table.ts'

/** What the source knew about a table at a position; part of every position, so that rows and schema never disagree. */
export interface StoredTable {
  readonly schema: TableSchema
  /** `database.collection` that its rows come from. */
  readonly collection: string
  /** Of the mapping that made the rows, see `TableMapping`. */
  readonly fingerprint: string
  readonly columnFingerprints: Readonly<Record<string, string>>
  /** Cluster time that its copy began at, hex; changes up to there are in it. Null when it has to be copied. */
  readonly copiedAt: string | null
  /** Classes of values that the columns of its key have had, see `DocumentPacker.keyClasses`. */
  readonly keyClasses: readonly number[]
}

/** A copy of a collection that is under way. */
export interface StoredCopy {
  /** Cluster time that it began at, hex. */
  readonly at: string
  /** The tables that it fills. */
  readonly tables: readonly string[]
  /** `_id`s between the ranges, ascending, each a BSON document `{_id}` in base64. */
  readonly bounds: readonly string[]
  /** Ranges that are done: a bit each, from the lowest of the first hex digit on. */
  readonly done: string
}

/** `resume` of a position. */
export interface Resume {
  /** Cluster time of the last event or of a place behind it, hex. */
  readonly at: string
  /** Resume token as text, see `tokenText`; null to start at `at` inclusively. */
  readonly token: string | null
  /** The token is that of an invalidate event: only `startAfter` takes it. */
  readonly invalidated?: boolean
  /** Events and rows that were seen of the cluster time `at`. */
  readonly events: number
  readonly rows: number
  /** Nothing more of this cluster time follows. */
  readonly behind: boolean
  /** What the token was made for: it is used with the same stages only. */
  readonly stages: string
  /** Name of the replica set, and its id when the server told it. */
  readonly cluster: string
  /** By `namespace.name`. */
  readonly tables: Readonly<Record<string, StoredTable>>
  /** By `database.collection`. */
  readonly copies: Readonly<Record<string, StoredCopy>>
  /** Cluster time from which on the tables are, all together, as the database had them; hex. Null while one is to be copied. */
  readonly wholeFrom: string | null
  /** Changes since before the first copy have to come as well, see `SourceContext.replayFrom`. */
  readonly replays?: true
}

/** Everything in a position that stays the same from event to event. */
export type Surroundings = Pick<Resume, 'stages' | 'cluster' | 'tables' | 'copies' | 'wholeFrom' | 'replays'>

const ORDINAL_BITS = 13
const COUNTERS = 2 ** 20
const SECONDS = 2 ** 31
/** 2010-01-01: seconds from here on fit into 31 bits until 2078. */
const FIRST_SECOND = 1_262_304_000

/** Rows of one cluster time beyond this many share the last version, and the one written last wins. */
export const ORDINAL_LIMIT = (1 << ORDINAL_BITS) - 1

/** One number as its two halves; every machine that Node runs on has the lower one first. */
const versionHalves = new Uint32Array(2)
const versionWhole = new BigUint64Array(versionHalves.buffer)

/** Row version of the first row of a cluster time. */
export function versionAt(seconds: number, counter: number): bigint {
  const second = seconds - FIRST_SECOND
  if (second < 0 || second >= SECONDS || counter >= COUNTERS) {
    throw new InternalError(
      'mongodb/cluster-time',
      'a cluster time is beyond what row versions can express',
      {
        fix: 'Check the clock of the server: it is before 2010 or after 2077, or counts more than a million writes a second.',
      },
    )
  }
  // 31 bits, 20 and 13, put together in memory: this is done per event, and shifts of a bigint each make another one.
  versionHalves[0] = counter << ORDINAL_BITS
  versionHalves[1] = second * 2 + (counter >>> (32 - ORDINAL_BITS))
  return versionWhole[0]!
}

/** Version of every row of a copy that began at this time: above all events up to it, below all later ones. */
export function snapshotVersion(time: bigint): bigint {
  return versionAt(Number(time >> 32n), Number(time & 0xffff_ffffn)) + BigInt(ORDINAL_LIMIT)
}

export function formatTime(time: bigint): string {
  return time.toString(16).padStart(16, '0')
}

export function formatHalves(seconds: number, counter: number): string {
  return seconds.toString(16).padStart(8, '0') + counter.toString(16).padStart(8, '0')
}

export function parseTime(hex: string): bigint {
  return BigInt(`0x${hex}`)
}

/**
 * The cluster time in a resume token: a key string that begins with the type byte of a timestamp, 0x82, and its 8 bytes
 * (MongoDB source, `resume_token.h`). Null for a token that does not look like this.
 */
export function timeOfToken(token: string): string | null {
  return /^82[0-9a-f]{16}/i.test(token) ? token.slice(2, 18).toLowerCase() : null
}

/** Where the stream is: behind the last event that was taken. */
export interface Place {
  readonly seconds: number
  readonly counter: number
  /** Null to start at the time, inclusively. */
  readonly token: string | null
  /** Events and rows of this cluster time so far. */
  readonly events: number
  readonly rows: number
  /** Nothing more of this cluster time follows. */
  readonly isBehind: boolean
  /** The token is that of an invalidate event. */
  readonly invalidated: boolean
  /** Positions that were given here and are none of a commit: parts of a copy, heartbeats. */
  readonly step: number
}

/** A place as a position. Made per transaction, formatted only when somebody looks. */
export class StreamPosition implements SourcePosition {
  readonly #place: Place
  readonly #surroundings: Surroundings

  /** The place is kept as it is. */
  constructor(place: Place, surroundings: Surroundings) {
    this.#place = place
    this.#surroundings = surroundings
  }

  get order(): string {
    const { seconds, counter, events, isBehind, step } = this.#place
    return `${formatHalves(seconds, counter)}.${isBehind ? 'ffffffff' : hex8(events)}.${hex8(step)}`
  }

  get partial(): true | undefined {
    const { wholeFrom } = this.#surroundings
    if (wholeFrom === null) return true
    const at = formatHalves(this.#place.seconds, this.#place.counter)
    return at > wholeFrom || (at === wholeFrom && this.#place.isBehind) ? undefined : true
  }

  get resume(): Json {
    const { seconds, counter, token, events, rows, isBehind, invalidated } = this.#place
    const resume: Resume = {
      at: formatHalves(seconds, counter),
      token,
      ...(invalidated ? { invalidated } : {}),
      events,
      rows,
      behind: isBehind,
      ...this.#surroundings,
    }
    return resume as unknown as Json
  }

  toJSON(): SourcePosition {
    const { order, resume, partial } = this
    return partial === true ? { order, resume, partial } : { order, resume }
  }
}

/** The place of a position. */
export function placeOf(position: SourcePosition): Place {
  const { at, token, events, rows, behind, invalidated } = readResume(position)
  const step = Number.parseInt(position.order.slice(-8), 16)
  return {
    ...halves(parseTime(at)),
    token,
    events,
    rows,
    isBehind: behind,
    invalidated: invalidated === true,
    step,
  }
}

/** The place before the first event of a cluster time. */
export function placeAt(time: bigint): Place {
  return { ...halves(time), token: null, events: 0, rows: 0, isBehind: false, invalidated: false, step: 0 }
}

function halves(time: bigint): { readonly seconds: number; readonly counter: number } {
  return { seconds: Number(time >> 32n), counter: Number(time & 0xffff_ffffn) }
}

/** Reads what `resume` holds. Throws when it was not made by this source. */
export function readResume(position: SourcePosition): Resume {
  const resume = position.resume as unknown as Partial<Resume> | null
  if (
    resume === null ||
    typeof resume !== 'object' ||
    typeof resume.at !== 'string' ||
    typeof resume.tables !== 'object' ||
    typeof resume.copies !== 'object'
  ) {
    throw new InternalError('mongodb/position', 'the stored position was not written by a mongodb source', {
      fix: 'Give this pipeline its own name or its own checkpoint store.',
    })
  }
  return resume as Resume
}

/** True when bit `index` is set. */
export function isDone(done: string, index: number): boolean {
  const digit = done[index >> 2]
  return digit !== undefined && ((Number.parseInt(digit, 16) >> (index & 3)) & 1) === 1
}

/** The same with bit `index` set. */
export function withDone(done: string, index: number): string {
  const at = index >> 2
  const padded = done.padEnd(at + 1, '0')
  const digit = (Number.parseInt(padded[at]!, 16) | (1 << (index & 3))).toString(16)
  return padded.slice(0, at) + digit + padded.slice(at + 1)
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0')
}
