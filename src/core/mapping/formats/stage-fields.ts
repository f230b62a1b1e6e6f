/** What `$addFields`, `$project` and `$unset` make of the fields of a document. */
import type { Json } from '../../position.ts'
import { canonicalText } from '../values/canonical-json.ts'
import type { Expression, Path } from '../mapping.ts'
import type { JsonPath } from '../normalized.ts'
import { parsePath } from '../path.ts'
import { project, type ProjectionMode, type ProjectionNode } from './projection-tree.ts'
import { isObject, type JsonObject, type Reading } from './reading.ts'
import { type Field, fieldText, pathsOf, Shape, valueOf } from './shape.ts'

/** What is said of one name, and of the names inside it. */
type Said =
  | { readonly kind: 'include' | 'exclude'; readonly at: JsonPath }
  | { readonly kind: 'computed'; readonly field: Field; readonly at: JsonPath }
  | { readonly kind: 'inside'; readonly children: Map<string, Said>; readonly at: JsonPath }

type Leaf = (json: Json, at: JsonPath) => Said | null

const FORMS = 'must be 1, 0, a field such as "$name", or an expression'

export function addFields(
  shape: Shape,
  json: Json,
  path: JsonPath,
  reading: Reading,
  purpose: string,
): Shape {
  const leaf: Leaf = (value, at) => computedOf(shape, value, at, reading, purpose)
  const said = read(json, path, new Set(), leaf, reading)
  return shape.with(new Map([...said].map(([name, one]) => [name, fieldOf(shape, name, one, 'add')])))
}

export function unsetFields(
  shape: Shape,
  json: Json,
  path: JsonPath,
  reading: Reading,
  purpose: string,
): Shape {
  const names = typeof json === 'string' ? [json] : (reading.list(json, path) ?? [])
  const entries = names.flatMap((name, index) => {
    const text = reading.text(name, typeof json === 'string' ? path : [...path, index])
    return text === null ? [] : [[text, 0] as const]
  })
  return entries.length === 0
    ? shape
    : projectFields(shape, Object.fromEntries(entries), path, new Set(), reading, purpose).shape
}

export interface Projected {
  readonly shape: Shape
  /** What is named one by one, and where; null when the projection only takes away. */
  readonly named: ReadonlyMap<string, JsonPath> | null
}

export function projectFields(
  shape: Shape,
  json: Json,
  path: JsonPath,
  columns: ReadonlySet<string>,
  reading: Reading,
  purpose: string,
): Projected {
  const leaf: Leaf = (value, at) => projectedOf(shape, value, at, reading, purpose)
  const said = read(json, path, columns, leaf, reading)
  const others = [...said].filter(([name, one]) => name !== '_id' || one.kind === 'inside')
  const kinds = new Set(others.flatMap(([, one]) => kindsIn(one)))
  const id = said.get('_id')
  const excludes = kinds.has('exclude') || (kinds.size === 0 && id?.kind === 'exclude')
  if (excludes && (kinds.has('include') || kinds.has('computed'))) {
    reading.wrong(path, 'takes some fields in and others out: only one of both is possible, besides for _id')
  }
  if (excludes || said.size === 0) {
    const mode = 'exclude'
    return {
      shape: shape.with(new Map([...said].map(([name, one]) => [name, fieldOf(shape, name, one, mode)]))),
      named: null,
    }
  }
  const fields = new Map([...said].map(([name, one]) => [name, fieldOf(shape, name, one, 'include')]))
  if (id === undefined) fields.set('_id', shape.field('_id'))
  const named = [...said].filter(([, one]) => one.kind !== 'exclude')
  return {
    shape: new Shape(fields, false),
    named: new Map(named.map(([name, one]) => [name, one.at])),
  }
}

/** Names with points lead into fields; whatever is said of one field comes together. */
function read(
  json: Json,
  path: JsonPath,
  columns: ReadonlySet<string>,
  leaf: Leaf,
  reading: Reading,
): Map<string, Said> {
  const said = new Map<string, Said>()
  const object = reading.object(json, path)
  for (const [key, value] of Object.entries(object ?? {})) {
    const at = [...path, key]
    const names = parsePath(key)
    if (names.path === null) {
      reading.wrong(at, names.reason)
      continue
    }
    const isColumn = columns.has(key) && !columns.has(names.path[0]!)
    // What is wrong with it is said: that it is not there would be a second mistake.
    const one = readOne(value, at, leaf, reading) ?? { kind: 'include', at }
    if (isColumn && names.path.length > 1 && one.kind === 'include') {
      said.set(key, { kind: 'computed', field: { kind: 'path', path: names.path }, at })
    } else put(said, isColumn ? [key] : names.path, one, at, reading)
  }
  return said
}

function readOne(json: Json, at: JsonPath, leaf: Leaf, reading: Reading): Said | null {
  if (!isObject(json) || Object.keys(json).some((key) => key.startsWith('$'))) return leaf(json, at)
  const children = new Map<string, Said>()
  if (Object.keys(json).length === 0) return reading.wrong(at, 'has nothing in it')
  for (const [key, value] of Object.entries(json)) {
    const one = readOne(value, [...at, key], leaf, reading)
    const names = parsePath(key)
    if (names.path === null) reading.wrong([...at, key], names.reason)
    else if (one !== null) put(children, names.path, one, [...at, key], reading)
  }
  return { kind: 'inside', children, at }
}

function put(into: Map<string, Said>, path: Path, one: Said, at: JsonPath, reading: Reading): void {
  const [name, ...rest] = path as readonly [string, ...string[]]
  const known = into.get(name)
  if (rest.length === 0 && one.kind !== 'inside') {
    if (known === undefined) into.set(name, one)
    else reading.wrong(at, 'says something about a field that is already spoken of')
    return
  }
  if (known !== undefined && known.kind !== 'inside') {
    reading.wrong(at, 'says something about a field that is already spoken of')
    return
  }
  const inside = known ?? { kind: 'inside' as const, children: new Map<string, Said>(), at }
  into.set(name, inside)
  if (rest.length > 0) return put(inside.children, rest, one, at, reading)
  for (const [key, child] of (one as Extract<Said, { kind: 'inside' }>).children) {
    put(inside.children, [key], child, child.at, reading)
  }
}

function projectedOf(shape: Shape, json: Json, at: JsonPath, reading: Reading, purpose: string): Said | null {
  if (json === 1 || json === true) return { kind: 'include', at }
  if (json === 0 || json === false) return { kind: 'exclude', at }
  if (typeof json === 'string' && !json.startsWith('$')) return reading.wrong(at, FORMS)
  if (typeof json === 'number' || json === null) return reading.wrong(at, FORMS)
  return computedOf(shape, json, at, reading, purpose)
}

function computedOf(shape: Shape, json: Json, at: JsonPath, reading: Reading, purpose: string): Said | null {
  const { field, mistakes } = shape.compile(json, purpose)
  if (field === null) return reading.within(at, mistakes)
  return { kind: 'computed', field, at }
}

function kindsIn(said: Said): readonly Said['kind'][] {
  return said.kind === 'inside' ? [...said.children.values()].flatMap(kindsIn) : [said.kind]
}

function fieldOf(shape: Shape, name: string, said: Said, mode: ProjectionMode): Field {
  switch (said.kind) {
    case 'include':
      return shape.field(name)
    case 'exclude':
      return { kind: 'gone' }
    case 'computed':
      return said.field
    case 'inside':
      return insideField(shape.field(name), said, mode)
  }
}

function insideField(before: Field, said: Extract<Said, { kind: 'inside' }>, mode: ProjectionMode): Field {
  const node = nodeOf(said) as Extract<ProjectionNode, { kind: 'inside' }>
  const leaves = leavesOf(said)
  const read =
    mode === 'include' && before.kind === 'path'
      ? leaves.map((leaf) => [...before.path, ...leafPath(leaf)])
      : pathsOf(before)
  const computed = leaves.flatMap(({ said: leaf }) => (leaf.kind === 'computed' ? pathsOf(leaf.field) : []))
  const expression: Expression = {
    paths: [...read, ...computed],
    evaluate: (document) => project(valueOf(before, document), node, mode, document),
  }
  const text = canonicalText({ mode, inside: textOf(said), of: fieldText(before) })
  return { kind: 'expression', expression, text }
}

function nodeOf(said: Said): ProjectionNode {
  switch (said.kind) {
    case 'include':
    case 'exclude':
      return { kind: said.kind }
    case 'computed': {
      const { field } = said
      const evaluate: Expression['evaluate'] = (document) => valueOf(field, document)
      return { kind: 'computed', expression: { paths: pathsOf(field), evaluate } }
    }
    case 'inside':
      return {
        kind: 'inside',
        children: new Map([...said.children].map(([name, child]) => [name, nodeOf(child)])),
      }
  }
}

function leavesOf(said: Said): readonly { readonly path: Path; readonly said: Said }[] {
  if (said.kind !== 'inside') return [{ path: [], said }]
  return [...said.children].flatMap(([name, child]) =>
    leavesOf(child).map((leaf) => ({ path: [name, ...leaf.path], said: leaf.said })),
  )
}

/** What is computed stands in every element of an array: it has to be known whether there is one. */
function leafPath({ path, said }: { readonly path: Path; readonly said: Said }): Path {
  return said.kind === 'computed' ? path.slice(0, -1) : path
}

function textOf(said: Said): Json {
  if (said.kind === 'inside') {
    return Object.fromEntries([...said.children].map(([name, child]) => [name, textOf(child)])) as JsonObject
  }
  return said.kind === 'computed' ? { computed: fieldText(said.field) } : said.kind
}
