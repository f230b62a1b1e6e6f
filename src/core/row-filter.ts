/**
 * Conditions on rows, written as JSON with the names that MongoDB uses, and compiled once to a function.
 *
 * ```yaml
 * { status: open, total: { $gte: 10, $lt: 100 }, $or: [{ owner: null }, { owner: { $in: [ann, bob] } }] }
 * ```
 *
 * | condition | is true for |
 * |---|---|
 * | `{a: 1}`, `{a: {$eq: 1}}` | cells equal to the value; `{a: null}`: cells that are NULL |
 * | `{a: {$ne: 1}}` | all other cells, NULL too |
 * | `{a: {$in: [1, null]}}` | cells equal to one of the values; an empty list has none |
 * | `{a: {$nin: [1]}}` | all other cells, NULL too |
 * | `$gt $gte $lt $lte` | numbers by size, text by code points (as bytes of UTF-8); never NULL |
 * | `{a: {$exists: true}}` | cells that are not NULL; `false`: that are |
 * | `{a: {$not: {$gt: 1}}}` | cells for which the operators inside are not all true, so NULL too |
 * | `{$and: [...]}`, `{$or: [...]}`, `{$nor: [...]}` | all, at least one, none of the conditions |
 *
 * Several columns, and several operators of a column, must all be true. `{}` is true for every row. NULL is equal to
 * null only. Types do not mix: a number is never equal to, above or below a text, and a value of another type than the
 * column has is a mistake, as is everything that could never be meant. A json column can only be asked whether it is
 * NULL. Numbers are doubles.
 */
import { closest } from './closest.ts'
import type { Json } from './position.ts'
import { compareText } from './text-order.ts'

/** `json`: a value with an inside; all others are scalars. */
export type FilterKind = 'string' | 'number' | 'boolean' | 'json'

export interface FilterColumn {
  readonly name: string
  readonly kind: FilterKind
}

export interface RowFilter {
  /** Indexes of the columns that the filter asks for, ascending. */
  readonly columns: readonly number[]
  /** `cell` gives the value of a column by its index; it may be asked more than once, or not at all. */
  matches(cell: (column: number) => Json): boolean
}

/** What is wrong with a filter. No value is ever named. */
export interface FilterMistake {
  /** Keys and list indexes from the top of the filter. */
  readonly path: readonly (string | number)[]
  /** A clause without a full stop. */
  readonly reason: string
}

export type CompiledFilter =
  | { readonly filter: RowFilter; readonly mistakes: null }
  | { readonly filter: null; readonly mistakes: readonly FilterMistake[] }

/** Compiles a filter for rows of these columns, or lists all its mistakes. */
export function compileFilter(filter: Json, columns: readonly FilterColumn[]): CompiledFilter {
  const compiler = new Compiler(columns)
  const matches = compiler.conditions(filter, [])
  const { mistakes, used } = compiler
  if (mistakes.length > 0) return { filter: null, mistakes }
  return { filter: { columns: [...used].toSorted((a, b) => a - b), matches }, mistakes: null }
}

type Path = FilterMistake['path']
type Scalar = null | boolean | number | string
/** A test of a cell. */
type Test = (value: Json) => boolean
/** A test of a row. */
type Match = RowFilter['matches']
type Operator = (operand: Json, place: Place) => Test

/** Where an operator stands. */
interface Place {
  readonly compiler: Compiler
  readonly kind: FilterKind
  readonly path: Path
}

const DEPTH_MAX = 32

const OPERATORS: Readonly<Record<string, Operator>> = {
  $eq: (operand, place) => equals(place.compiler.scalar(operand, place)),
  $ne: (operand, place) => negated(equals(place.compiler.scalar(operand, place))),
  $in: (operand, place) => isOneOf(place.compiler.scalars(operand, place)),
  $nin: (operand, place) => negated(isOneOf(place.compiler.scalars(operand, place))),
  $gt: (operand, place) => ranged(operand, place, (order) => order > 0),
  $gte: (operand, place) => ranged(operand, place, (order) => order >= 0),
  $lt: (operand, place) => ranged(operand, place, (order) => order < 0),
  $lte: (operand, place) => ranged(operand, place, (order) => order <= 0),
  $exists(operand, { compiler, path }) {
    if (typeof operand !== 'boolean') compiler.mistake(path, 'must be true or false')
    return operand === true ? (value) => value !== null : (value) => value === null
  },
  $not(operand, { compiler, kind, path }) {
    if (isObject(operand)) return negated(compiler.operators(operand, kind, path))
    compiler.mistake(path, 'must be operators, such as {"$gt": 1}; use $ne for a value')
    return never
  },
}

type Combine = (parts: readonly Match[]) => Match

const COMBINATIONS: Readonly<Record<string, Combine>> = {
  $and: (parts) => (cell) => parts.every((part) => part(cell)),
  $or: (parts) => (cell) => parts.some((part) => part(cell)),
  $nor: (parts) => (cell) => !parts.some((part) => part(cell)),
}

/** Turns conditions into functions and collects what is wrong; a function made after a mistake is never called. */
class Compiler {
  readonly mistakes: FilterMistake[] = []
  readonly used = new Set<number>()
  readonly #columns: readonly FilterColumn[]
  readonly #names: readonly string[]

  constructor(columns: readonly FilterColumn[]) {
    this.#columns = columns
    this.#names = columns.map((column) => column.name)
  }

  mistake(path: Path, reason: string): void {
    this.mistakes.push({ path, reason })
  }

  /** `{column: condition, $or: [...]}`. */
  conditions(filter: Json, path: Path): Match {
    if (path.length > DEPTH_MAX) return this.#refuse(path, 'is nested too deeply')
    if (!isObject(filter))
      return this.#refuse(path, 'must be conditions by column, such as {"status": "open"}')
    const parts = Object.entries(filter).map(([key, value]) => {
      return key.startsWith('$')
        ? this.#combination(key, value, [...path, key])
        : this.#column(key, value, [...path, key])
    })
    return parts.length === 1 ? parts[0]! : COMBINATIONS['$and']!(parts)
  }

  /** `{$gte: 1, $lt: 5}`. */
  operators(condition: JsonObject, kind: FilterKind, path: Path): Test {
    const entries = Object.entries(condition)
    if (path.length > DEPTH_MAX || entries.length === 0) {
      this.mistake(path, entries.length === 0 ? 'has no operator' : 'is nested too deeply')
      return never
    }
    const tests = entries.map(([name, operand]) => {
      const place: Place = { compiler: this, kind, path: [...path, name] }
      const operator = own(OPERATORS, name)
      if (operator !== undefined) return operator(operand, place)
      this.mistake(place.path, unknown('operator', name, Object.keys(OPERATORS)))
      return never
    })
    return tests.length === 1 ? tests[0]! : (value) => tests.every((test) => test(value))
  }

  /** A value that a cell of the column can be equal to. */
  scalar(operand: Json, { kind, path }: Pick<Place, 'kind' | 'path'>): Scalar {
    if (operand === null) return null
    if (kind === 'json') this.mistake(path, 'must be null: of a json column only NULL can be asked')
    else if (typeof operand !== kind || !isFinite(operand))
      this.mistake(path, `must be ${NAMES[kind]} or null`)
    return operand as Scalar
  }

  scalars(operand: Json, place: Place): readonly Scalar[] {
    if (isList(operand)) {
      return operand.map((item, index) => this.scalar(item, { ...place, path: [...place.path, index] }))
    }
    this.mistake(place.path, 'must be a list of values')
    return []
  }

  #column(name: string, condition: Json, path: Path): Match {
    const index = this.#names.indexOf(name)
    const column = this.#columns[index]
    if (column === undefined) return this.#refuse(path, unknown('column', name, this.#names))
    this.used.add(index)
    const test = this.#condition(condition, column.kind, path)
    return (cell) => test(cell(index))
  }

  #condition(condition: Json, kind: FilterKind, path: Path): Test {
    if (isObject(condition)) return this.operators(condition, kind, path)
    if (!isList(condition)) return equals(this.scalar(condition, { kind, path }))
    this.mistake(path, 'must be a value or operators; use $in for one of several values')
    return never
  }

  #combination(name: string, parts: Json, path: Path): Match {
    const combine = own(COMBINATIONS, name)
    if (combine === undefined) {
      const misplaced = Object.hasOwn(OPERATORS, name)
      const names = Object.keys(COMBINATIONS)
      if (name === '$not') return this.#refuse(path, 'stands under a column; for conditions use $nor')
      return this.#refuse(path, misplaced ? 'stands under a column' : unknown('operator', name, names))
    }
    if (!isList(parts) || parts.length === 0)
      return this.#refuse(path, 'must be a list of conditions, at least one')
    return combine(parts.map((part, index) => this.conditions(part, [...path, index])))
  }

  #refuse(path: Path, reason: string): Match {
    this.mistake(path, reason)
    return never
  }
}

type JsonObject = { readonly [key: string]: Json }

const NAMES = { string: 'text', number: 'a number', boolean: 'true or false' } as const

const never = (): boolean => false

function negated(test: Test): Test {
  return (value) => !test(value)
}

function equals(operand: Scalar): Test {
  return (value) => value === operand
}

function isOneOf(operands: readonly Scalar[]): Test {
  const set = new Set<Json>(operands)
  return (value) => set.has(value)
}

function ranged(operand: Json, { compiler, kind, path }: Place, accepts: (order: number) => boolean): Test {
  if (kind !== 'number' && kind !== 'string') {
    compiler.mistake(path, `has no meaning for a ${kind} column`)
    return never
  }
  if (typeof operand !== kind || !isFinite(operand)) compiler.mistake(path, `must be ${NAMES[kind]}`)
  return kind === 'number'
    ? (value) => typeof value === 'number' && accepts(value - (operand as number))
    : (value) => typeof value === 'string' && accepts(compareText(value, operand as string))
}

function unknown(what: string, name: string, known: readonly string[]): string {
  const near = closest(name, known)
  if (near !== null) return `unknown ${what}, did you mean "${near}"?`
  return known.length === 0
    ? `unknown ${what}; there are none`
    : `unknown ${what}; known: ${known.join(', ')}`
}

function own<Value>(of: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(of, name) ? of[name] : undefined
}

/** JSON has only such numbers; YAML and TypeScript have others. */
function isFinite(value: Json): boolean {
  return typeof value !== 'number' || Number.isFinite(value)
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
