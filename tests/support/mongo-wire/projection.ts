import { CommandError } from './errors.ts'
import { evaluate } from './expression.ts'
import { Doc, isNumber, isTrue, List, TYPE, type Value } from './value.ts'

/** What becomes of one field. */
type Part = 'include' | 'exclude' | { readonly expression: Value } | { readonly inner: Map<string, Part> }

/** A projection of `find` or `$project`, or the additions of `$addFields`. */
export interface Projection {
  readonly keeps: boolean
  readonly parts: ReadonlyMap<string, Part>
}

export function parseProjection(spec: Doc): Projection {
  const parts = parse(spec)
  const id = parts.get('_id')
  const others = [...parts].filter(([name]) => name !== '_id').map(([, part]) => part)
  const including = others.some(includes)
  if (including && others.some(excludes))
    throw new CommandError(31254, 'Cannot do exclusion on field in inclusion projection')
  const keeps = others.length > 0 ? !including : id === 'exclude'
  if (!keeps && id === undefined) parts.set('_id', 'include')
  return { keeps, parts }
}

/** The parts of `$addFields` and `$set`: everything is kept, and every value is an expression. */
export function parseAdditions(spec: Doc): Projection {
  return { keeps: true, parts: parse(spec, true) }
}

export function project(document: Doc, projection: Projection): Doc {
  return apply(document, projection.parts, projection.keeps, document)
}

function parse(spec: Doc, additions = false): Map<string, Part> {
  const parts = new Map<string, Part>()
  for (const [name, value] of spec.fields) {
    const path = name.split('.')
    let at = parts
    for (const segment of path.slice(0, -1)) {
      const known = at.get(segment)
      const inner = typeof known === 'object' && 'inner' in known ? known.inner : new Map<string, Part>()
      at.set(segment, { inner })
      at = inner
    }
    at.set(path.at(-1)!, partOf(value, additions))
  }
  return parts
}

function partOf(value: Value, additions: boolean): Part {
  if (value instanceof Doc) {
    const first = value.fields.keys().next().value
    if (first !== undefined && !first.startsWith('$')) return { inner: parse(value, additions) }
    return { expression: value }
  }
  if (!additions && (value.type === TYPE.bool || isNumber(value)))
    return isTrue(value) ? 'include' : 'exclude'
  return { expression: value }
}

function includes(part: Part): boolean {
  if (part === 'include') return true
  if (part === 'exclude') return false
  return 'expression' in part || [...part.inner.values()].some(includes)
}

function excludes(part: Part): boolean {
  return (
    part === 'exclude' ||
    (typeof part === 'object' && 'inner' in part && [...part.inner.values()].some(excludes))
  )
}

function apply(document: Doc, parts: ReadonlyMap<string, Part>, keeps: boolean, root: Doc): Doc {
  const fields = new Map<string, Value>()
  for (const [name, value] of document.fields) {
    const part = parts.get(name)
    if (part === undefined) {
      if (keeps) fields.set(name, value)
    } else if (part === 'include') fields.set(name, value)
    else if (part !== 'exclude') {
      const result =
        'expression' in part ? evaluate(part.expression, { root }) : within(value, part.inner, keeps, root)
      if (result !== undefined) fields.set(name, result)
    }
  }
  for (const [name, part] of parts) {
    if (typeof part !== 'object' || document.get(name) !== undefined) continue
    const result =
      'expression' in part
        ? evaluate(part.expression, { root })
        : hasExpression(part.inner)
          ? apply(Doc.empty, part.inner, keeps, root)
          : undefined
    if (result !== undefined) fields.set(name, result)
  }
  return Doc.of(fields)
}

function within(
  value: Value,
  inner: ReadonlyMap<string, Part>,
  keeps: boolean,
  root: Doc,
): Value | undefined {
  if (value instanceof Doc) return apply(value, inner, keeps, root)
  if (value instanceof List)
    return List.of(
      value.items.map((item) => within(item, inner, keeps, root)).filter((item) => item !== undefined),
    )
  if (hasExpression(inner)) return apply(Doc.empty, inner, keeps, root)
  return keeps ? value : undefined
}

function hasExpression(parts: ReadonlyMap<string, Part>): boolean {
  return [...parts.values()].some(
    (part) => typeof part === 'object' && ('expression' in part || hasExpression(part.inner)),
  )
}
