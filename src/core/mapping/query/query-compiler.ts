import type { Json } from '../../position.ts'
import { allOf, always, type Condition, type Match, matchAt, never, type PathSearch } from './condition.ts'
import { ExpressionCompiler, scopeOf } from '../expression/expression-compiler.ts'
import { isTyped } from '../values/extended-json.ts'
import { isJsonList, isJsonObject, type JsonObject, own, unknownName } from '../values/json.ts'
import type { Path } from '../mapping.ts'
import type { MappingMistake } from '../mistake.ts'
import { parsePath, search } from '../path.ts'
import { equality, FIELD_OPERATORS, type Place } from './query-operators.ts'
import { isTrue } from '../values/truth.ts'

type MistakePath = MappingMistake['path']
type Combine = (parts: readonly Match[]) => Match

const DEPTH_MAX = 100

const COMBINATIONS: Readonly<Record<string, Combine>> = {
  $and: allOf,
  $or: (parts) => (document) => parts.some((part) => part(document)),
  $nor: (parts) => (document) => !parts.some((part) => part(document)),
}

const ELSEWHERE: Readonly<Record<string, string>> = {
  $not: 'stands under a field; for conditions use $nor',
  $where: 'is JavaScript, which is not run; use $expr',
  $text: 'needs an index of a server; use $regex',
  $jsonSchema: 'is not supported; write conditions',
}

const TOP = [...Object.keys(COMBINATIONS), '$expr', '$comment']

/** Turns conditions into functions and collects what is wrong; a function made after a mistake is never called. */
export class QueryCompiler {
  readonly mistakes: MappingMistake[] = []
  readonly paths: Path[] = []

  #isElement = false

  mistake(path: MistakePath, reason: string): void {
    this.mistakes.push({ path, reason })
  }

  refuse(path: MistakePath, reason: string): Condition {
    this.mistake(path, reason)
    return { kind: 'some', elements: false, test: never }
  }

  /** `{field: condition, $or: [...]}`. */
  conditions(query: Json, path: MistakePath): Match {
    if (path.length > DEPTH_MAX) return this.#stop(path, 'is nested too deeply')
    if (!isJsonObject(query)) {
      return this.#stop(path, 'must be conditions by field, such as {"status": "open"}')
    }
    const parts = Object.entries(query).map(([key, value]) => {
      const inner = [...path, key]
      return key.startsWith('$') ? this.#combination(key, value, inner) : this.#field(key, value, inner)
    })
    return allOf(parts)
  }

  /** The same for an element of an array, whose fields are none of the document. */
  elementConditions(query: Json, path: MistakePath): Match {
    const paths = this.paths.length
    const wasElement = this.#isElement
    this.#isElement = true
    const match = this.conditions(query, path)
    this.#isElement = wasElement
    this.paths.length = paths
    return match
  }

  /** `{$gte: 1, $lt: 5}`. */
  condition(operators: JsonObject, path: MistakePath): Condition {
    if (path.length > DEPTH_MAX) return this.refuse(path, 'is nested too deeply')
    const conditions = Object.entries(operators).map(([name, operand]) => {
      const place: Place = { compiler: this, path: [...path, name], siblings: operators }
      const operator = own(FIELD_OPERATORS, name)
      if (operator !== undefined) return operator(operand, place)
      const misplaced = TOP.includes(name)
      return this.refuse(
        place.path,
        misplaced ? 'stands beside fields' : unknownName('operator', name, Object.keys(FIELD_OPERATORS)),
      )
    })
    return conditions.length === 1 ? conditions[0]! : { kind: 'all', conditions }
  }

  #field(name: string, condition: Json, path: MistakePath): Match {
    const parsed = parsePath(name)
    if (parsed.path === null) return this.#stop(path, parsed.reason)
    this.paths.push(parsed.path)
    const values: PathSearch = {
      values: search(parsed.path, false),
      elements: search(parsed.path, true),
    }
    return matchAt(values, this.#fieldCondition(condition, path))
  }

  #fieldCondition(condition: Json, path: MistakePath): Condition {
    const isOperators =
      isJsonObject(condition) && Object.keys(condition)[0]?.startsWith('$') === true && !isTyped(condition)
    if (isOperators) return this.condition(condition, path)
    return equality(condition, { compiler: this, path, siblings: {} })
  }

  #combination(name: string, operand: Json, path: MistakePath): Match {
    if (name === '$comment') return always
    if (name === '$expr') return this.#expression(operand, path)
    const combine = own(COMBINATIONS, name)
    if (combine === undefined) {
      const underField = Object.hasOwn(FIELD_OPERATORS, name) ? 'stands under a field' : undefined
      return this.#stop(path, own(ELSEWHERE, name) ?? underField ?? unknownName('operator', name, TOP))
    }
    if (!isJsonList(operand) || operand.length === 0) {
      return this.#stop(path, 'must be a list of conditions, at least one')
    }
    return combine(operand.map((part, index) => this.conditions(part, [...path, index])))
  }

  #expression(operand: Json, path: MistakePath): Match {
    if (this.#isElement) return this.#stop(path, 'sees the whole document, and cannot stand in $elemMatch')
    const compiler = new ExpressionCompiler('a filter', this.mistakes)
    const { evaluate } = compiler.compile(operand, path)
    this.paths.push(...compiler.paths)
    return (document) => isTrue(evaluate(scopeOf(document)))
  }

  #stop(path: MistakePath, reason: string): Match {
    this.mistake(path, reason)
    return never
  }
}
