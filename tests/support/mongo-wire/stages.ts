import { compareValues, keyOf } from './compare.ts'
import { CommandError } from './errors.ts'
import { evaluate } from './expression.ts'
import { getPath } from './path.ts'
import { parseAdditions, parseProjection, project } from './projection.ts'
import { matches } from './query.ts'
import { addNumbers } from './number.ts'
import {
  doc,
  Doc,
  int32,
  isNumber,
  isTrue,
  List,
  NULL,
  numberOf,
  string,
  textOf,
  type Value,
} from './value.ts'

/** A stage over one document: what becomes of it, or `null` when it is dropped. */
export type Transform = (document: Doc) => Doc | null

/** A stage that needs no other document; `undefined` for all other stages. */
export function parseTransform(name: string, spec: Value): Transform | undefined {
  switch (name) {
    case '$match':
      return (document) => (matches(spec as Doc, document) ? document : null)
    case '$project': {
      const projection = parseProjection(spec as Doc)
      return (document) => project(document, projection)
    }
    case '$addFields':
    case '$set': {
      const projection = parseAdditions(spec as Doc)
      return (document) => project(document, projection)
    }
    case '$unset': {
      const names = spec instanceof List ? spec.items : [spec]
      const projection = parseProjection(Doc.of(names.map((field) => [textOf(field)!, int32(0)])))
      return (document) => project(document, projection)
    }
    case '$replaceRoot':
    case '$replaceWith': {
      const expression = name === '$replaceRoot' ? (spec as Doc).get('newRoot')! : spec
      return (document) => {
        const root = evaluate(expression, { root: document })
        if (root instanceof Doc) return root
        throw new CommandError(40228, "'newRoot' expression must evaluate to an object")
      }
    }
    case '$redact':
      return (document) => {
        const kept = evaluate(spec, {
          root: document,
          variables: new Map(['KEEP', 'PRUNE', 'DESCEND'].map((word) => [word, string(word)])),
        })
        return kept !== undefined && textOf(kept) === 'PRUNE' ? null : document
      }
    default:
      return undefined
  }
}

/** The name and argument of a stage. */
export function stageOf(stage: Value): readonly [string, Value] {
  const fields = stage instanceof Doc ? [...stage.fields] : []
  if (fields.length !== 1)
    throw new CommandError(40323, 'A pipeline stage specification object must contain exactly one field.')
  return fields[0]!
}

/** Runs the stages of an aggregation over documents. */
export function runStages(documents: Iterable<Doc>, stages: readonly Value[]): Iterable<Doc> {
  let rows = documents
  for (const stage of stages) rows = runStage(rows, ...stageOf(stage))
  return rows
}

function runStage(rows: Iterable<Doc>, name: string, spec: Value): Iterable<Doc> {
  const transform = parseTransform(name, spec)
  if (transform) return transformed(rows, transform)
  switch (name) {
    case '$limit':
      return limited(rows, numberOf(spec)!)
    case '$skip':
      return [...rows].slice(numberOf(spec))
    case '$sort':
      return sorted(rows, spec as Doc)
    case '$sample':
      return sample([...rows], numberOf((spec as Doc).get('size'))!)
    case '$count':
      return counted([...rows].length, textOf(spec)!)
    case '$group':
      return grouped(rows, spec as Doc)
    case '$unwind':
      return unwound(rows, spec)
    case '$bucketAuto':
      return buckets([...rows], spec as Doc)
    case '$sortByCount':
      return sorted(grouped(rows, doc({ _id: spec, count: { $sum: 1 } })), doc({ count: -1 }))
    default:
      throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`)
  }
}

function* transformed(rows: Iterable<Doc>, transform: Transform): Generator<Doc> {
  for (const row of rows) {
    const result = transform(row)
    if (result) yield result
  }
}

export function* limited(rows: Iterable<Doc>, count: number): Generator<Doc> {
  let left = count
  if (left <= 0) return
  for (const row of rows) {
    yield row
    if (--left === 0) return
  }
}

/** Documents in the order of a sort specification; a missing field sorts as null. */
export function sorted(rows: Iterable<Doc>, order: Doc): Doc[] {
  const keys = [...order.fields].map(
    ([path, direction]) => [path.split('.'), numberOf(direction) ?? 1] as const,
  )
  return [...rows].toSorted((left, right) => {
    for (const [path, direction] of keys) {
      const found =
        direction *
        compareValues(sortKey(getPath(left, path), direction), sortKey(getPath(right, path), direction))
      if (found !== 0) return found
    }
    return 0
  })
}

/** An array sorts by its smallest element, downwards by its greatest one. */
function sortKey(value: Value | undefined, direction: number): Value {
  if (value === undefined) return NULL
  if (!(value instanceof List) || value.items.length === 0) return value
  return value.items.reduce((best, item) => (direction * compareValues(item, best) < 0 ? item : best))
}

function sample(rows: Doc[], size: number): Doc[] {
  for (let index = 0; index < Math.min(size, rows.length); index++) {
    const other = index + Math.floor(Math.random() * (rows.length - index))
    const row = rows[index]!
    rows[index] = rows[other]!
    rows[other] = row
  }
  return rows.slice(0, size)
}

function* counted(count: number, name: string): Generator<Doc> {
  if (count > 0) yield doc({ [name]: count })
}

function* unwound(rows: Iterable<Doc>, spec: Value): Generator<Doc> {
  const path = textOf(spec instanceof Doc ? spec.get('path') : spec)!.slice(1)
  const keeps = spec instanceof Doc && isTrue(spec.get('preserveNullAndEmptyArrays'))
  for (const row of rows) {
    const value = getPath(row, path.split('.'))
    if (value instanceof List && value.items.length > 0)
      for (const item of value.items) yield row.with(path, item)
    else if (value !== undefined && !(value instanceof List) && value !== NULL) yield row
    else if (keeps) yield row
  }
}

function* grouped(rows: Iterable<Doc>, spec: Doc): Generator<Doc> {
  const groups = new Map<string, { id: Value; rows: Doc[] }>()
  const by = spec.get('_id') ?? NULL
  for (const row of rows) {
    const id = evaluate(by, { root: row }) ?? NULL
    const group = groups.get(keyOf(id)) ?? { id, rows: [] }
    group.rows.push(row)
    groups.set(keyOf(id), group)
  }
  for (const group of groups.values()) {
    const fields: [string, Value][] = [['_id', group.id]]
    for (const [name, accumulator] of spec.fields)
      if (name !== '_id') fields.push([name, accumulate(group.rows, ...stageOf(accumulator))])
    yield Doc.of(fields)
  }
}

/** Buckets of about the same size: each but the last one ends where the next begins. */
function buckets(rows: readonly Doc[], spec: Doc): Doc[] {
  const by = spec.get('groupBy')!
  const values = rows.map((root) => evaluate(by, { root }) ?? NULL).toSorted(compareValues)
  const size = Math.max(1, Math.ceil(values.length / numberOf(spec.get('buckets'))!))
  const groups: Value[][] = []
  for (const value of values) {
    const last = groups.at(-1)
    if (last && (last.length < size || compareValues(last.at(-1)!, value) === 0)) last.push(value)
    else groups.push([value])
  }
  return groups.map((group, index) =>
    doc({ _id: { min: group[0], max: groups[index + 1]?.[0] ?? group.at(-1) }, count: group.length }),
  )
}

function accumulate(rows: readonly Doc[], name: string, expression: Value): Value {
  if (name === '$count') return int32(rows.length)
  const values = rows.map((row) => evaluate(expression, { root: row }))
  const present = values.filter((value) => value !== undefined)
  switch (name) {
    case '$sum':
      return present.filter(isNumber).reduce<Value>((sum, value) => addNumbers(sum, value, ''), int32(0))
    case '$min':
      return (
        present.reduce<Value | null>(
          (best, value) => (best && compareValues(best, value) <= 0 ? best : value),
          null,
        ) ?? NULL
      )
    case '$max':
      return (
        present.reduce<Value | null>(
          (best, value) => (best && compareValues(best, value) >= 0 ? best : value),
          null,
        ) ?? NULL
      )
    case '$first':
      return values[0] ?? NULL
    case '$last':
      return values.at(-1) ?? NULL
    case '$push':
      return List.of(present)
    case '$addToSet':
      return List.of([...new Map(present.map((value) => [keyOf(value), value])).values()])
    default:
      throw new CommandError(15952, `unknown group operator '${name}'`)
  }
}
