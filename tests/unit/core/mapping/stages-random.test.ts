/** The stages of a pipeline, worked out by name, against documents that are built anew after each stage. */
import { describe, expect, it } from 'vitest'
import { documentOf } from '../../../../src/core/mapping/document.ts'
import { compileExpression } from '../../../../src/core/mapping/expression/expression.ts'
import { pathsToRead } from '../../../../src/core/mapping/path.ts'
import { compileQuery } from '../../../../src/core/mapping/query/query.ts'
import { Reading } from '../../../../src/core/mapping/formats/reading.ts'
import { pathsOf } from '../../../../src/core/mapping/formats/shape.ts'
import { Stages } from '../../../../src/core/mapping/formats/stages.ts'
import { unwound } from '../../../../src/core/mapping/unwind.ts'
import type { LazyDocument, ObjectValue } from '../../../../src/core/mapping/value.ts'
import type { Json } from '../../../../src/core/position.ts'
import { type Random, seeded } from '../../../support/random.ts'
import { type Plain, plainOf, type PlainRow, valueOf } from './rows-of.ts'

const NAMES = ['a', 'b', 'c'] as const

function value(random: Random, depth: number): Plain {
  const kind = random.below(depth > 2 ? 4 : 7)
  if (kind === 0) return null
  if (kind === 1) return random.pick(['x', 'y', ''])
  if (kind < 4) return random.below(4)
  if (kind === 4) return fields(random, depth + 1)
  return Array.from({ length: random.below(4) }, () => value(random, depth + (kind === 5 ? 1 : 2)))
}

function fields(random: Random, depth: number): PlainRow {
  const names = NAMES.filter(() => random.below(4) > 0)
  return Object.fromEntries(names.map((name) => [name, value(random, depth)]))
}

function path(random: Random): string {
  return Array.from({ length: 1 + random.below(3) }, () => random.pick(NAMES)).join('.')
}

function expression(random: Random): Json {
  switch (random.below(4)) {
    case 0:
      return { $ifNull: [`$${path(random)}`, 'none'] }
    case 1:
      return { $isArray: [`$${path(random)}`] }
    case 2:
      return { $eq: [`$${path(random)}`, random.below(3)] }
    default:
      return `$${path(random)}`
  }
}

/** Names of which none is inside another. */
function names(random: Random): readonly string[] {
  const chosen: string[] = []
  for (let tries = 0; tries < 4; tries++) {
    const name = path(random)
    if (!chosen.some((other) => `${other}.`.startsWith(`${name}.`) || `${name}.`.startsWith(`${other}.`))) {
      chosen.push(name)
    }
  }
  return chosen
}

function stage(random: Random): Json {
  switch (random.below(6)) {
    case 0:
      return {
        $match: { [path(random)]: random.pick([1, 'x', { $exists: true }, { $gt: 0 }, { $ne: null }]) },
      }
    case 1:
      return {
        $unwind: {
          path: `$${path(random)}`,
          includeArrayIndex: random.pick([null, 'n', 'c']),
          preserveNullAndEmptyArrays: random.below(2) === 0,
        },
      }
    case 2:
      return { $addFields: Object.fromEntries(names(random).map((name) => [name, expression(random)])) }
    case 3:
      return { $unset: [...names(random)] }
    case 4:
      return { $project: Object.fromEntries(names(random).map((name) => [name, 0])) }
    default:
      return {
        $project: Object.fromEntries(
          names(random).map((name) => [name, random.below(3) > 0 ? 1 : expression(random)]),
        ),
      }
  }
}

function read(pipeline: Json): Stages | null {
  const reading = new Reading('mappings')
  const stages = new Stages(reading, 'a table')
  stages.pipeline(pipeline, [])
  return reading.mistakes.length > 0 ? null : stages
}

/** What the stages leave of a document. */
function left(stages: Stages, document: PlainRow): readonly LazyDocument[] {
  let documents: readonly LazyDocument[] = [lazy(document)]
  if (stages.filter !== null && !stages.filter.test(documents[0]!)) return []
  for (const unwind of stages.unwind) documents = documents.flatMap((one) => unwound(one, unwind))
  return documents
    .filter((one) => stages.elementFilter?.test(one) ?? true)
    .map((one) => stages.shape.view(one))
}

/** The fields that stages gave a name, and what has to be read for them and for everything else. */
function needs(stages: Stages): { readonly names: readonly string[]; readonly paths: readonly string[] } {
  const fields = [...stages.shape.fields]
  const paths = [
    ...fields.flatMap(([, field]) => pathsOf(field)),
    ...(stages.filter?.paths ?? []),
    ...(stages.elementFilter?.paths ?? []),
    ...stages.unwind.map((unwind) => unwind.path),
  ]
  return {
    names: fields.map(([name]) => name),
    paths: pathsToRead(paths).map((one) => one.join('.')),
  }
}

function cellsOf(documents: readonly LazyDocument[], all: readonly string[]): readonly unknown[] {
  return documents.map((document) =>
    all.map((name) => {
      const cell = document.field(name)
      return cell === undefined ? undefined : plainOf(cell)
    }),
  )
}

type Stage = { readonly [name: string]: Json }

/** Stage after stage, as the manual of MongoDB describes each of them. */
function reference(pipeline: readonly Stage[], document: PlainRow): readonly PlainRow[] {
  return pipeline.reduce<readonly PlainRow[]>(
    (documents, one) => documents.flatMap((each) => applied(one, each)),
    [document],
  )
}

function applied(stage: Stage, document: PlainRow): readonly PlainRow[] {
  const [name, content] = Object.entries(stage)[0]!
  switch (name) {
    case '$match':
      return compileQuery(content).predicate!.test(lazy(document)) ? [document] : []
    case '$unwind': {
      const options = content as {
        path: string
        includeArrayIndex: string
        preserveNullAndEmptyArrays: boolean
      }
      const unwind = {
        path: options.path.slice(1).split('.'),
        indexField: options.includeArrayIndex,
        keepsEmpty: options.preserveNullAndEmptyArrays,
      }
      return unwound(lazy(document), unwind).map((one) => plainOf(one.whole()) as PlainRow)
    }
    case '$unset':
      return [removed(document, content as readonly string[])]
    default: {
      const entries = Object.entries(content as PlainRow)
      if (name === '$project' && entries.every(([, said]) => said === 0)) {
        return [
          removed(
            document,
            entries.map(([path]) => path),
          ),
        ]
      }
      const included = entries.filter(([, said]) => said === 1).map(([path]) => path)
      const touched = entries.map(([path]) => path)
      const start =
        name === '$project' ? (kept(document, ['_id', ...included], touched) as PlainRow) : document
      const computed = entries.filter(([, said]) => name !== '$project' || said !== 1)
      return [
        computed.reduce((row, [path, said]) => set(row, path.split('.'), said as Json, document), start),
      ]
    }
  }
}

function removed(document: PlainRow, paths: readonly string[]): PlainRow {
  return paths.reduce<PlainRow>((row, path) => without(row, path.split('.')) as PlainRow, document)
}

function without(value: Plain, [name, ...rest]: readonly string[]): Plain {
  if (Array.isArray(value)) return value.map((one: Plain) => without(one, [name!, ...rest]))
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name!)) return value
  const { [name!]: inner, ...others } = value as PlainRow
  return rest.length === 0 ? others : { ...others, [name!]: without(inner!, rest) }
}

/** `touched`: paths that something is said of, so that what is on the way to them stays, without what is inside. */
function kept(value: Plain, paths: readonly string[], touched: readonly string[]): Plain | undefined {
  if (Array.isArray(value)) {
    return value.map((one: Plain) => kept(one, paths, touched)).filter((one) => one !== undefined)
  }
  if (typeof value !== 'object' || value === null) return undefined
  const inside = (all: readonly string[], name: string): readonly string[] =>
    all.filter((path) => path.startsWith(`${name}.`)).map((path) => path.slice(name.length + 1))
  const entries = Object.entries(value as PlainRow).flatMap(([name, inner]): [string, Plain][] => {
    if (paths.includes(name)) return [[name, inner]]
    if (inside(touched, name).length === 0) return []
    const rest = kept(inner, inside(paths, name), inside(touched, name))
    return rest === undefined ? [] : [[name, rest]]
  })
  return Object.fromEntries(entries)
}

function set(
  value: Plain | undefined,
  [name, ...rest]: readonly string[],
  said: Json,
  root: PlainRow,
): PlainRow {
  if (Array.isArray(value)) {
    return value.map((one: Plain) => set(one, [name!, ...rest], said, root)) as unknown as PlainRow
  }
  const isObject = typeof value === 'object' && value !== null
  const { [name!]: inner, ...others } = (isObject ? value : {}) as PlainRow
  if (rest.length > 0) return { ...others, [name!]: set(inner, rest, said, root) }
  const computed = compileExpression(said).expression!.evaluate(lazy(root))
  return computed === undefined ? others : { ...others, [name!]: plainOf(computed) }
}

function lazy(document: PlainRow): LazyDocument {
  return documentOf(valueOf(document) as ObjectValue)
}

describe('pipelines', () => {
  it('leave what they would leave stage after stage, for random stages and documents', () => {
    const random = seeded('pipelines')
    let compared = 0
    for (let round = 0; round < 5000; round++) {
      const pipeline = Array.from({ length: 1 + random.below(5) }, () => stage(random))
      const document = { _id: round, ...fields(random, 0) }
      const stages = read(pipeline)
      if (stages === null) continue
      compared++
      const documents = left(stages, document)
      const what = JSON.stringify({ pipeline, document })
      const expected = reference(pipeline as readonly Stage[], document)
      expect(
        documents.map((one) => plainOf(one.whole())),
        what,
      ).toEqual(expected)
      // The server sends nothing but the paths that they say they read.
      const { names: all, paths } = needs(stages)
      const sent = kept(document, paths, paths) as PlainRow
      expect(cellsOf(left(stages, sent), all), what).toEqual(cellsOf(documents, all))
    }
    // The others read something before it is unwound, or take fields in and out at once.
    expect(compared).toBeGreaterThan(2000)
  }, 60_000)
})
