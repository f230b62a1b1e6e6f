import { CommandError } from './errors.ts'
import type { LogEntry } from './log.ts'
import { binary, doc, Doc, isNumber, numberOf, string, textOf, TYPE, type Value } from './value.ts'

const HIGH_WATER_MARK = 0
const EVENT = 128

/** What a resume token says of its place in the log. */
export interface TokenPlace {
  readonly time: bigint
  /** A mark lies before all events of its time. */
  readonly mark: boolean
  readonly index: number
  readonly invalidate: boolean
  /** The last fragment that was seen of a split event; 0 for a whole one. */
  readonly fragment: number
}

/** The token of an event, built like the server's: a key string of time, version, kind, index in the transaction, and what the event was about. */
export function eventToken(
  entry: LogEntry,
  version: 1 | 2,
  operationType: string,
  invalidate = false,
  fragment: number | null = null,
): Doc {
  const parts = [head(entry.time, version, EVENT, entry.index, invalidate)]
  parts.push(entry.uuid === null ? Buffer.of(0x14) : Buffer.concat([Buffer.of(0x5a, 0x10, 0x04), entry.uuid]))
  const key = entry.documentKey
  const identifier =
    version === 1
      ? (key ?? Doc.empty)
      : key
        ? doc({ operationType, documentKey: key })
        : doc({ operationType, operationDescription: entry.description ?? Doc.empty })
  if (version === 1 && key === null) parts.push(Buffer.of(0x14))
  else parts.push(Buffer.of(0x46), documentKeyString(identifier))
  if (fragment !== null) parts.push(integer(fragment))
  parts.push(Buffer.of(0x04))
  const data = token(Buffer.concat(parts))
  // What a key string does not tell: the types of numbers. None is written where all are 32-bit integers.
  if (key === null || !hasOtherNumbers(key)) return data
  return Doc.of([...data.fields, ['_typeBits', binary(Buffer.of(0x40), 0)]])
}

function hasOtherNumbers(document: Doc): boolean {
  return [...document.fields.values()].some((value) =>
    value instanceof Doc ? hasOtherNumbers(value) : isNumber(value) && value.type !== TYPE.int32,
  )
}

/** A token for a place between events: it sorts before all events of that time. */
export function markToken(time: bigint, version: 1 | 2): Doc {
  const tail = version === 1 ? [0x04] : [0x14, 0x04]
  return token(Buffer.concat([head(time, version, HIGH_WATER_MARK, 0, false), Buffer.from(tail)]))
}

export function tokenData(value: Value | undefined): string {
  const data = value instanceof Doc ? textOf(value.get('_data')) : undefined
  if (data === undefined) throw new CommandError(40647, 'Bad resume token: _data of missing or of wrong type')
  return data
}

export function readToken(data: string): TokenPlace {
  if (!/^82(?:[0-9A-F]{2})+$/.test(data))
    throw new CommandError(50811, 'KeyString format error: Unknown type')
  const bytes = Buffer.from(data, 'hex')
  const time = bytes.readBigUInt64BE(1)
  let at = 9
  const next = (): number => {
    const size = bytes[at]! - 0x2a
    if (bytes[at] === 0x29) {
      at++
      return 0
    }
    if (size < 1 || size > 6 || at + size >= bytes.length)
      throw new CommandError(50811, 'KeyString format error: Unknown type')
    const number = bytes.readUIntBE(at + 1, size)
    at += size + 1
    return Math.floor(number / 2)
  }
  next()
  const kind = next()
  const index = next()
  const invalidate = bytes[at] === 0x6f
  // The number of a fragment is the last part before the end.
  const tail = /2B([0-9A-F]{2})04$/.exec(data)
  const fragment =
    kind === EVENT && tail && data.endsWith(`002B${tail[1]}04`) ? Number.parseInt(tail[1]!, 16) / 2 : 0
  return { time, mark: kind === HIGH_WATER_MARK, index, invalidate, fragment }
}

/** Tokens in the order of the log: the order of their texts. */
export function laterToken(left: Doc, right: Doc): Doc {
  return tokenData(left) >= tokenData(right) ? left : right
}

function token(bytes: Buffer): Doc {
  return Doc.of([['_data', string(bytes.toString('hex').toUpperCase())]])
}

function head(time: bigint, version: number, kind: number, index: number, invalidate: boolean): Buffer {
  const stamp = Buffer.alloc(9)
  stamp[0] = 0x82
  stamp.writeBigUInt64BE(time, 1)
  const flag = Buffer.of(invalidate ? 0x6f : 0x6e)
  return Buffer.concat([stamp, integer(version), integer(kind), integer(index), flag])
}

function integer(value: number): Buffer {
  if (value === 0) return Buffer.of(0x29)
  const doubled = value * 2
  const size = Math.max(1, Math.ceil((32 - Math.clz32(doubled)) / 8))
  const bytes = Buffer.alloc(size + 1)
  bytes[0] = 0x2a + size
  bytes.writeUIntBE(doubled, 1, size)
  return bytes
}

const KEY_STRING_TYPES: { readonly [type: number]: number } = {
  [TYPE.document]: 0x46,
  [TYPE.array]: 0x50,
  [TYPE.binary]: 0x5a,
  [TYPE.objectId]: 0x64,
  [TYPE.string]: 0x3c,
  [TYPE.date]: 0x78,
  [TYPE.timestamp]: 0x82,
  [TYPE.bool]: 0x6e,
  [TYPE.null]: 0x14,
}

function documentKeyString(document: Doc): Buffer {
  const parts: Buffer[] = []
  for (const [name, value] of document.fields) {
    const number = isNumber(value) ? numberOf(value) : undefined
    const type = number === undefined ? (KEY_STRING_TYPES[value.type] ?? 0xa0) : 0x1e
    parts.push(Buffer.of(type), Buffer.from(`${name}\0`))
    if (value instanceof Doc) parts.push(Buffer.of(0x46), documentKeyString(value))
    else if (number !== undefined && number >= 0 && number < 2 ** 30 && Number.isInteger(number))
      parts.push(integer(number))
    else {
      const text = textOf(value)
      // What other values look like in a key string is of no consequence here: their plain bytes tell them apart.
      parts.push(Buffer.of(type), text === undefined ? value.bytes : Buffer.from(`${text}\0`))
    }
  }
  parts.push(Buffer.of(0))
  return Buffer.concat(parts)
}
