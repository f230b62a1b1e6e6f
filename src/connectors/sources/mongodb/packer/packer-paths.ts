/**
 * The wanted paths of a table as a tree by field name. Every node remembers which field followed which in the documents
 * before, wanted or not, so that a field of the next document is known by comparing its name with one other.
 */
import type { Path } from '../../../../core/mapping/mapping.ts'
import { nameEnd } from '../bson/bson.ts'

/** Fields of other names are looked up each time from here on: objects whose names are data must not fill the memory. */
const REMEMBERED_MAX = 256

export class Field {
  /** Bytes of the name with the zero behind. */
  readonly name: Uint8Array
  readonly length: number
  /** The same, four at a time, the least significant first: comparing these takes a third of the time. */
  readonly words: Int32Array
  /** Bytes that must be there for comparing the words. */
  readonly reach: number
  /** Which bits of the last word belong to the name. */
  readonly mask: number
  /** Columns of the row that have their value here. */
  readonly columns: number[] = []
  /** The only thing that is wanted here, a column; -1 when there is more, or nothing. */
  single = -1
  /** What is wanted of the inside; null for nothing. */
  inside: PathNode | null = null
  /** Number of the unwind whose array this is, -1 for none. Its inside is read per element. */
  unwind = -1
  /** Nothing is wanted here; only remembered to know it again. */
  ignored = true
  /** What followed in the document before. */
  next: Field
  /** Number of the document (of its node) in which it was met last: of fields with the same name the first counts. */
  met = 0

  /** `name` ends with a zero; empty for a field that is equal to none. */
  constructor(name: Uint8Array, next: Field | null) {
    this.name = name
    this.length = name.length
    this.words = new Int32Array(Math.ceil(name.length / 4))
    name.forEach((byte, index) => (this.words[index >> 2]! |= byte << ((index & 3) * 8)))
    this.reach = name.length === 0 ? Infinity : this.words.length * 4
    const rest = name.length & 3
    this.mask = rest === 0 ? -1 : (1 << (rest * 8)) - 1
    this.next = next ?? this
  }
}

const NO_NAME = new Uint8Array(0)
/** Equal to no name. */
const NO_FIELD = new Field(NO_NAME, null)

export class PathNode {
  /** Names of the path to here. */
  readonly depth: number
  /** What follows it is the first field. */
  readonly start = new Field(NO_NAME, NO_FIELD)
  /** Any field that is not remembered. */
  readonly stranger = new Field(NO_NAME, NO_FIELD)
  /** Columns with a value anywhere inside. */
  readonly below: number[] = []
  /** Number of the document at hand. */
  document = 0
  readonly #fields = new Map<number, Field[]>()
  #count = 0

  constructor(depth: number) {
    this.depth = depth
  }

  /** The field at the path from this node on, made when there is none; `column`, when not -1, has its value there. */
  add(path: Path, column: number): Field {
    const { depth } = this
    const name = Uint8Array.from(Buffer.from(`${path[depth]!}\0`))
    let field = this.#known(name, 0)
    if (field === null) {
      field = this.#remember(name)
      field.ignored = false
    }
    if (column >= 0) this.below.push(column)
    if (depth === path.length - 1) {
      if (column >= 0) field.columns.push(column)
    } else field.inside ??= new PathNode(depth + 1)
    field.single = field.columns.length === 1 && field.inside === null ? field.columns[0]! : -1
    return depth === path.length - 1 ? field : field.inside!.add(path, column)
  }

  /** The field whose name begins at `at`. */
  find(bytes: Uint8Array, at: number, last: number): Field {
    const known = this.#known(bytes, at)
    if (known !== null) return known
    if (this.#count >= REMEMBERED_MAX) return this.stranger
    return this.#remember(Uint8Array.from(bytes.subarray(at, nameEnd(bytes, at, last) + 1)))
  }

  #known(bytes: Uint8Array, at: number): Field | null {
    const fields = this.#fields.get(hash(bytes, at))
    if (fields === undefined) return null
    for (const field of fields) {
      const { name } = field
      let index = 0
      while (index < name.length && bytes[at + index] === name[index]) index++
      if (index === name.length) return field
    }
    return null
  }

  #remember(name: Uint8Array): Field {
    const field = new Field(name, NO_FIELD)
    const key = hash(name, 0)
    const fields = this.#fields.get(key)
    if (fields === undefined) this.#fields.set(key, [field])
    else fields.push(field)
    this.#count++
    return field
  }
}

/** Of the bytes up to a zero. */
function hash(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let byte = bytes[at]; byte !== 0 && byte !== undefined; byte = bytes[++at]) {
    value = (Math.imul(value, 31) + byte) | 0
  }
  return value
}
