import type { Json } from '../../position.ts'
import { isTyped, readValue } from '../values/extended-json.ts'
import { isJsonList, isJsonObject, type JsonObject, own, unknownName } from '../values/json.ts'
import type { Path } from '../mapping.ts'
import type { MappingMistake } from '../mistake.ts'
import { OPERATORS } from './expression-operators.ts'
import { type Environment, type Evaluate, missing, NULL, Place, type Scope } from './expression-place.ts'
import { parsePath, valueAt, valueBehind } from '../path.ts'
import type { DocumentValue, LazyDocument } from '../value.ts'

type MistakePath = MappingMistake['path']

export interface Compiled {
  readonly evaluate: Evaluate
  /** Nothing of a document is read. */
  readonly isConstant: boolean
}

const DEPTH_MAX = 100
const NO_VARIABLES: Environment = { slots: new Map(), depth: 0 }
const SYSTEM_VARIABLES = ['ROOT', 'CURRENT', 'REMOVE']

export function scopeOf(root: LazyDocument): Scope {
  return { root, variables: [] }
}

/** Turns expressions into functions and collects what is wrong; a function made after a mistake is never called. */
export class ExpressionCompiler {
  readonly mistakes: MappingMistake[]
  readonly paths: Path[] = []
  /** What the value is for, in errors. */
  readonly purpose: string
  /** Counts what is read of documents and variables. */
  #reads = 0

  constructor(purpose: string, mistakes: MappingMistake[]) {
    this.purpose = purpose
    this.mistakes = mistakes
  }

  compile(json: Json, path: MistakePath, environment: Environment = NO_VARIABLES): Compiled {
    const reads = this.#reads
    const mistakes = this.mistakes.length
    const evaluate = this.#evaluate(json, path, environment)
    const isConstant = this.#reads === reads
    if (!isConstant || this.mistakes.length > mistakes) return { evaluate, isConstant }
    return { evaluate: folded(evaluate), isConstant }
  }

  /** The value at a path that is known to be one. */
  read(path: Path): Evaluate {
    this.#reads++
    this.paths.push(path)
    const [name] = path
    return path.length === 1 ? (scope) => scope.root.field(name!) : (scope) => valueAt(scope.root, path)
  }

  mistake(path: MistakePath, reason: string): Evaluate {
    this.mistakes.push({ path, reason })
    return missing
  }

  #evaluate(json: Json, path: MistakePath, environment: Environment): Evaluate {
    if (path.length > DEPTH_MAX) return this.mistake(path, 'is nested too deeply')
    if (typeof json === 'string' && json.startsWith('$')) return this.#reference(json, path, environment)
    if (isJsonList(json)) return this.#list(json, path, environment)
    if (!isJsonObject(json) || isTyped(json)) {
      const value = readValue(json, path, this.mistakes)
      return () => value
    }
    const names = Object.keys(json)
    const name = names.find((key) => key.startsWith('$'))
    if (name === undefined) return this.#object(json, path, environment)
    if (names.length > 1) return this.mistake(path, `must have no other key beside ${name}`)
    const operator = own(OPERATORS, name)
    if (operator === undefined) {
      return this.mistake([...path, name], unknownName('operator', name, Object.keys(OPERATORS)))
    }
    return operator(json[name]!, new Place(this, name, [...path, name], environment))
  }

  /** `$a.b`, `$$ROOT`, `$$this.a`. */
  #reference(text: string, path: MistakePath, environment: Environment): Evaluate {
    const isVariable = text.startsWith('$$')
    const [first, ...rest] = text.slice(isVariable ? 2 : 1).split('.')
    if (!isVariable) return this.#path([first!, ...rest], path)
    if (rest.length > 0 && this.#checked(rest, path) === null) return missing
    if (first === 'REMOVE' && rest.length === 0) return missing
    if (first === 'ROOT' || first === 'CURRENT') {
      if (rest.length > 0) return this.#path(rest, path)
      this.#reads++
      this.paths.push([])
      return (scope) => scope.root.whole()
    }
    const slot = environment.slots.get(first!)
    if (slot === undefined) {
      const known = [...environment.slots.keys(), ...SYSTEM_VARIABLES].map((name) => `$$${name}`)
      return this.mistake(path, unknownName('variable', `$$${first}`, known))
    }
    this.#reads++
    if (rest.length === 0) return (scope) => scope.variables[slot]
    return (scope) => valueBehind(scope.variables[slot], rest, 0)
  }

  #path(names: readonly string[], path: MistakePath): Evaluate {
    const parsed = this.#checked(names, path)
    if (parsed === null) return missing
    return this.read(parsed)
  }

  #checked(names: readonly string[], path: MistakePath): Path | null {
    const parsed = parsePath(names.join('.'))
    if (parsed.path === null) this.mistake(path, parsed.reason)
    return parsed.path
  }

  /** A missing element is null. */
  #list(items: readonly Json[], path: MistakePath, environment: Environment): Evaluate {
    const parts = items.map((item, index) => this.compile(item, [...path, index], environment).evaluate)
    return (scope) => ({ kind: 'array', value: parts.map((part) => part(scope) ?? NULL) })
  }

  /** A missing field is left out. */
  #object(object: JsonObject, path: MistakePath, environment: Environment): Evaluate {
    const parts = Object.entries(object).map(([name, item]) => {
      const inner = [...path, name]
      if (name.includes('.')) this.mistake(inner, 'has a point in its name; nest objects instead')
      return [name, this.compile(item, inner, environment).evaluate] as const
    })
    return (scope) => {
      const fields = new Map<string, DocumentValue>()
      for (const [name, part] of parts) {
        const value = part(scope)
        if (value !== undefined) fields.set(name, value)
      }
      return { kind: 'object', value: fields }
    }
  }
}

/** Computed once. What cannot be computed at all may stand in a branch that no document takes. */
function folded(evaluate: Evaluate): Evaluate {
  try {
    const value = evaluate({ root: NO_DOCUMENT, variables: [] })
    return () => value
  } catch {
    return evaluate
  }
}

const NO_DOCUMENT: LazyDocument = {
  field: () => undefined,
  whole: () => ({ kind: 'object', value: new Map() }),
}
