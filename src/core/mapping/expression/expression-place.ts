import { PoisonRecordError } from '../../error.ts'
import type { Json } from '../../position.ts'
import type { ExpressionCompiler } from './expression-compiler.ts'
import { readValue } from '../values/extended-json.ts'
import { isJsonList, isJsonObject, type JsonObject, unknownName } from '../values/json.ts'
import type { MappingMistake } from '../mistake.ts'
import type { DocumentValue, LazyDocument } from '../value.ts'

export type Value = DocumentValue | undefined

/** What an evaluation sees. */
export interface Scope {
  readonly root: LazyDocument
  /** Of `$map`, `$filter`, `$reduce` and `$let`, by the number that each was given when it was compiled. */
  readonly variables: Value[]
}

export type Evaluate = (scope: Scope) => Value
export type Operator = (operand: Json, place: Place) => Evaluate

/** Names of variables, and the number that the next one gets. */
export interface Environment {
  readonly slots: ReadonlyMap<string, number>
  readonly depth: number
}

type MistakePath = MappingMistake['path']

export const missing: Evaluate = () => undefined
export const NULL: DocumentValue = { kind: 'null' }

/** Where an operator stands, and what it may ask for. */
export class Place {
  readonly name: string
  readonly path: MistakePath
  readonly #compiler: ExpressionCompiler
  readonly #environment: Environment

  constructor(compiler: ExpressionCompiler, name: string, path: MistakePath, environment: Environment) {
    this.#compiler = compiler
    this.name = name
    this.path = path
    this.#environment = environment
  }

  /** Something that is wrong with the expression. */
  mistake(reason: string, ...inside: readonly (string | number)[]): Evaluate {
    return this.#compiler.mistake([...this.path, ...inside], reason)
  }

  /** Something that is wrong with a document. `reason`: a clause without a value. */
  fail(reason: string): never {
    throw new PoisonRecordError(
      'mapping/cannot-compute',
      `${this.#compiler.purpose} cannot be computed: ${this.name} ${reason}`,
      {
        fix: 'Correct the document, or guard the operator with $cond, $ifNull or onError of $convert.',
      },
    )
  }

  compile(json: Json, ...inside: readonly (string | number)[]): Evaluate {
    return this.#compiler.compile(json, [...this.path, ...inside], this.#environment).evaluate
  }

  /** What may be left out. */
  optional(json: Json | undefined, name: string): Evaluate | undefined {
    return json === undefined ? undefined : this.compile(json, name)
  }

  /** The top-level field of that name, which may hold points. */
  field(name: string): Evaluate {
    return this.#compiler.read([name])
  }

  /** The value, without expressions in it. */
  literal(json: Json): DocumentValue {
    return readValue(json, this.path, this.#compiler.mistakes)
  }

  /** A list of arguments; one alone needs no list. */
  list(operand: Json, least: number, most: number): readonly Evaluate[] {
    const items = isJsonList(operand) ? operand : [operand]
    if (items.length < least || items.length > most) {
      this.mistake(`must have ${counted(least, most)}`)
      return Array.from({ length: least }, () => missing)
    }
    return items.map((item, index) => {
      return isJsonList(operand) ? this.compile(item, index) : this.compile(item)
    })
  }

  /** The only argument. */
  one(operand: Json): Evaluate {
    return this.list(operand, 1, 1)[0]!
  }

  /** Arguments by name; what may be left out is undefined then. */
  named<Needed extends string, Optional extends string>(
    operand: Json,
    needed: readonly Needed[],
    optional: readonly Optional[],
  ): Readonly<Record<Needed, Evaluate> & Partial<Record<Optional, Evaluate>>> {
    const given = this.given(operand, needed, optional)
    const compiled = Object.entries(given).map(([name, json]) => [name, this.compile(json, name)] as const)
    const absent = needed.map((name) => [name, missing] as const)
    const all: Record<string, Evaluate> = Object.fromEntries([...absent, ...compiled])
    return all as Record<Needed, Evaluate> & Partial<Record<Optional, Evaluate>>
  }

  /** The same, not compiled; those that are unknown or absent are mistakes. */
  given(operand: Json, needed: readonly string[], optional: readonly string[]): JsonObject {
    const known = [...needed, ...optional]
    if (!isJsonObject(operand)) {
      this.mistake(`must be an object with ${known.join(', ')}`)
      return {}
    }
    for (const name of Object.keys(operand)) {
      if (!known.includes(name)) this.mistake(unknownName('argument', name, known), name)
    }
    for (const name of needed) {
      if (!Object.hasOwn(operand, name)) this.mistake(`needs ${name}`)
    }
    return Object.fromEntries(Object.entries(operand).filter(([name]) => known.includes(name)))
  }

  /** The same place with more variables, and the number of the first of them. */
  with(names: readonly string[]): { readonly place: Place; readonly slot: number } {
    const slot = this.#environment.depth
    const slots = new Map(this.#environment.slots)
    names.forEach((name, index) => {
      // By the rule of MongoDB for names that users give.
      if (!/^([a-z]|[^\0-\x7f])(\w|[^\0-\x7f])*$/.test(name)) {
        this.mistake('has a variable whose name does not begin with a small letter')
      }
      slots.set(name, slot + index)
    })
    const environment = { slots, depth: slot + names.length }
    return { place: new Place(this.#compiler, this.name, this.path, environment), slot }
  }
}

function counted(least: number, most: number): string {
  const plural = (count: number): string => (count === 1 ? '1 argument' : `${count} arguments`)
  if (least === most) return plural(least)
  return most === Infinity ? `at least ${plural(least)}` : `${least} to ${plural(most)}`
}
