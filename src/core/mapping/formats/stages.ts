/**
 * Reads what a mapping does with a document, stage after stage: which documents and elements have rows, and what their
 * fields are then. What would have to be computed before an array is unwound, and could not be behind it, is a mistake.
 */
import type { Json } from '../../position.ts'
import type { Path, Predicate, Unwind } from '../mapping.ts'
import type { JsonPath } from '../normalized.ts'
import { parsePath } from '../path.ts'
import { compileQuery } from '../query/query.ts'
import { isObject, type Reading } from './reading.ts'
import { overlap, pathsOf, Shape } from './shape.ts'
import { addFields, projectFields, unsetFields } from './stage-fields.ts'

interface Condition {
  readonly predicate: Predicate
  /** The same for conditions that say the same. */
  readonly text: Json
}

interface UnwindRead extends Unwind {
  readonly place: JsonPath
}

const STAGES = ['$match', '$unwind', '$addFields', '$set', '$project', '$unset']

export class Stages {
  shape = new Shape()
  /** Fields that the last stage names one by one; null when another stage was last. */
  lastProjection: ReadonlyMap<string, JsonPath> | null = null
  readonly #reading: Reading
  readonly #purpose: string
  readonly #before: Condition[] = []
  readonly #behind: Condition[] = []
  readonly #unwind: UnwindRead[] = []

  constructor(reading: Reading, purpose: string) {
    this.#reading = reading
    this.#purpose = purpose
  }

  get unwind(): readonly Unwind[] {
    return this.#unwind.map(({ path, indexField, keepsEmpty }) => ({ path, indexField, keepsEmpty }))
  }

  get filter(): Predicate | null {
    return all(this.#before)
  }

  get elementFilter(): Predicate | null {
    return all(this.#behind)
  }

  /** Of everything that says which rows there are. */
  get text(): Json {
    return {
      filter: this.#before.map(({ text }) => text),
      unwind: this.#unwind.map(({ path, indexField, keepsEmpty }) => [path, indexField, keepsEmpty]),
      elementFilter: this.#behind.map(({ text }) => text),
    }
  }

  pipeline(json: Json, path: JsonPath): void {
    const stages = this.#reading.list(json, path) ?? []
    for (const [index, stage] of stages.entries()) this.#stage(stage, [...path, index])
  }

  #stage(json: Json, path: JsonPath): void {
    const [name, ...others] = isObject(json) ? Object.keys(json) : []
    if (name === undefined || others.length > 0) {
      this.#reading.wrong(path, 'must be an object with one stage')
      return
    }
    this.#reading.onlyKeys(json as { [key: string]: Json }, STAGES, path)
    const content = (json as { [key: string]: Json })[name]!
    const at = [...path, name]
    switch (name) {
      case '$match':
        return this.match(content, at)
      case '$unwind':
        return this.#unwindStage(content, at)
      case '$addFields':
      case '$set':
        return this.#reshape(addFields(this.shape, content, at, this.#reading, this.#purpose))
      case '$project':
        return this.project(content, at, new Set())
      case '$unset':
        return this.#reshape(unsetFields(this.shape, content, at, this.#reading, this.#purpose))
    }
  }

  #reshape(shape: Shape): void {
    this.shape = shape
    this.lastProjection = null
  }

  /** A name with points in it that a column has as a whole is that column, and no way into a field. */
  project(json: Json, path: JsonPath, columns: ReadonlySet<string>): void {
    const { shape, named } = projectFields(this.shape, json, path, columns, this.#reading, this.#purpose)
    this.shape = shape
    this.lastProjection = named
  }

  match(json: Json, path: JsonPath): void {
    this.lastProjection = null
    const { predicate, mistakes } = compileQuery(json)
    if (predicate === null) {
      this.#reading.within(path, mistakes)
      return
    }
    const { shape } = this
    const untouched = shape.isUntouched(predicate.paths)
    const paths = untouched ? predicate.paths : shape.sourcePaths(predicate.paths)
    const condition: Condition = {
      predicate: untouched ? predicate : { paths, test: (document) => predicate.test(shape.view(document)) },
      text: { match: json, of: shape.textOf(predicate.paths) },
    }
    // What no array is unwound for is known before it is.
    const isOfElement = paths.some((read) => this.#unwind.some((unwind) => readsUnwound(read, unwind)))
    if (isOfElement) this.#behind.push(condition)
    else this.#before.push(condition)
  }

  /** `items`, or `{path, index, keepEmpty}`. */
  unwindField(json: Json, path: JsonPath): void {
    const reading = this.#reading
    if (typeof json === 'string') return this.#addUnwind(json, null, false, path, path)
    const object = reading.object(json, path)
    if (object === null) return
    reading.onlyKeys(object, ['path', 'index', 'keepEmpty'], path)
    const field = reading.text(object['path'], [...path, 'path'])
    const index = reading.optionalText(object['index'], [...path, 'index'])
    const keepEmpty = reading.optionalBoolean(object['keepEmpty'], [...path, 'keepEmpty']) ?? false
    if (field !== null) this.#addUnwind(field, index, keepEmpty, path, [...path, 'path'])
  }

  #unwindStage(json: Json, path: JsonPath): void {
    const reading = this.#reading
    if (typeof json === 'string') return this.#addUnwind(json, null, false, path, path)
    const object = reading.object(json, path)
    if (object === null) return
    reading.onlyKeys(object, ['path', 'includeArrayIndex', 'preserveNullAndEmptyArrays'], path)
    const field = reading.text(object['path'], [...path, 'path'])
    const index =
      object['includeArrayIndex'] === null
        ? null
        : reading.optionalText(object['includeArrayIndex'], [...path, 'includeArrayIndex'])
    const keep = [...path, 'preserveNullAndEmptyArrays']
    const keepEmpty = reading.optionalBoolean(object['preserveNullAndEmptyArrays'], keep) ?? false
    if (field !== null) this.#addUnwind(field, index, keepEmpty, path, [...path, 'path'])
  }

  #addUnwind(
    field: string,
    indexField: string | null,
    keepsEmpty: boolean,
    place: JsonPath,
    at: JsonPath,
  ): void {
    this.lastProjection = null
    const { path, reason } = parsePath(field.replace(/^\$/, ''))
    if (path === null) {
      this.#reading.wrong(at, reason)
      return
    }
    if (indexField !== null && (indexField.includes('.') || indexField.startsWith('$'))) {
      this.#reading.wrong(place, 'names a field for the index that has a point or a $ in it')
      return
    }
    if (!this.shape.isOwn(path[0]!)) {
      this.#reading.wrong(at, 'must be a field of the document as it is stored: unwind before it is computed')
      return
    }
    const unwind: UnwindRead = { path, indexField, keepsEmpty, place }
    this.#refuseEarlierReads(unwind, place)
    this.#unwind.push(unwind)
    if (indexField !== null) {
      this.shape = this.shape.with(new Map([[indexField, { kind: 'path', path: [indexField] }]]))
    }
  }

  /** Rules see only what a document is behind all unwinding. */
  #refuseEarlierReads(unwind: UnwindRead, place: JsonPath): void {
    const wrong = (what: string): null =>
      this.#reading.wrong(place, `unwinds what ${what} reads before it: put that behind the $unwind`)
    for (const [name, field] of this.shape.fields) {
      const isItself = this.shape.isOwn(name)
      if (!isItself && pathsOf(field).some((path) => readsUnwound(path, unwind))) wrong(`"${name}"`)
    }
    for (const { predicate } of this.#behind) {
      if (predicate.paths.some((path) => readsUnwound(path, unwind))) wrong('a $match between two $unwind')
    }
    for (const earlier of this.#unwind) {
      if (earlier.indexField === unwind.indexField && unwind.indexField !== null) wrong('another $unwind')
      if (earlier.indexField === unwind.path[0]) wrong('another $unwind')
      if (overlap(unwind.path, earlier.path) && unwind.path.length < earlier.path.length)
        wrong('another $unwind')
    }
  }
}

/** Whether a path leads to or through what the unwinding puts into its place. */
export function readsUnwound(path: Path, { path: array, indexField }: Unwind): boolean {
  return overlap(path, array) || (indexField !== null && path[0] === indexField)
}

function all(conditions: readonly Condition[]): Predicate | null {
  const [first, ...others] = conditions.map(({ predicate }) => predicate)
  if (first === undefined || others.length === 0) return first ?? null
  const predicates = [first, ...others]
  return {
    paths: predicates.flatMap(({ paths }) => paths),
    test: (document) => predicates.every((predicate) => predicate.test(document)),
  }
}
