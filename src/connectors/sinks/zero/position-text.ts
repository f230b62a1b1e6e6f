/**
 * Positions as text. What a source keeps in one may be large and the same from commit to commit (the schemas of all
 * tables): such parts are stored once and referred to by number.
 */
import { InternalError } from '../../../core/error.ts'
import type { Json, SourcePosition } from '../../../core/position.ts'

export interface PositionText {
  readonly order: string
  readonly partial: boolean
  /** JSON with `{"part": n}` in place of the large parts. */
  readonly text: string
  readonly parts: readonly PositionPart[]
}

export interface PositionPart {
  readonly id: number
  readonly body: string
}

/** Shorter texts are not worth a part. */
const PART_LENGTH = 200

/** Makes positions into text. Parts are recognised by identity: one object, one number. */
export class PositionWriter {
  readonly #known = new WeakMap<object, PositionPart | null>()
  #nextId: number

  /** `nextId` is above those of all parts that are stored. */
  constructor(nextId: number) {
    this.#nextId = nextId
  }

  write(position: SourcePosition): PositionText {
    const { order, resume, partial } = position
    const parts: PositionPart[] = []
    let kept: Json = resume
    if (typeof resume === 'object' && resume !== null && !Array.isArray(resume)) {
      const entries = Object.entries(resume).map(([name, value]): [string, Json] => {
        const part = this.#part(value)
        if (part === null) return [name, { value }]
        parts.push(part)
        return [name, { part: part.id }]
      })
      kept = { object: Object.fromEntries(entries) }
    } else kept = { value: resume }
    const text = JSON.stringify({ order, resume: kept, partial })
    return { order, partial: partial === true, text, parts }
  }

  #part(value: Json): PositionPart | null {
    if (typeof value !== 'object' || value === null) return null
    const known = this.#known.get(value)
    if (known !== undefined) return known
    const body = JSON.stringify(value)
    const part = body.length < PART_LENGTH ? null : { id: this.#nextId++, body }
    this.#known.set(value, part)
    return part
  }
}

/** The position of a text; `partOf` gives the body of a stored part. */
export function readPosition(text: string, partOf: (id: number) => string | null): SourcePosition {
  const { order, resume, partial } = JSON.parse(text) as {
    order: string
    resume: Kept
    partial?: true
  }
  const position = { order, resume: restore(resume, partOf) }
  return partial === true ? { ...position, partial } : position
}

type Kept = { value: Json } | { part: number } | { object: Record<string, Kept> }

function restore(kept: Kept, partOf: (id: number) => string | null): Json {
  if ('value' in kept) return kept.value
  if ('object' in kept)
    return Object.fromEntries(Object.entries(kept.object).map(([name, one]) => [name, restore(one, partOf)]))
  const body = partOf(kept.part)
  if (body === null)
    throw new InternalError('zero/log-corrupt', 'a part of the position is missing from the change log')
  return JSON.parse(body) as Json
}
