import { aggregate } from 'mingo'

import { compareValues, sameValue } from './compare.ts'
import { CommandError } from './errors.ts'
import { typeName } from './type-names.ts'
import {
  bool,
  date,
  Doc,
  double,
  int32,
  isTrue,
  List,
  NULL,
  numberOf,
  string,
  textOf,
  TYPE,
  type Value,
  valueOf,
  valueToJs,
} from './value.ts'

/** What an expression can see. */
export interface Scope {
  readonly root: Doc
  readonly variables?: ReadonlyMap<string, Value | undefined>
}

/** The value of an aggregation expression; `undefined` when a field is missing or removed. */
export function evaluate(expression: Value, scope: Scope): Value | undefined {
  const text = expression.type === TYPE.string ? textOf(expression)! : undefined
  if (text?.startsWith('$$')) return variable(text.slice(2).split('.'), scope)
  if (text?.startsWith('$')) return field(scope.root, text.slice(1).split('.'))
  if (expression instanceof List)
    return List.of(expression.items.map((item) => evaluate(item, scope) ?? NULL))
  if (!(expression instanceof Doc)) return expression
  const [first] = expression.fields
  if (first?.[0].startsWith('$')) return operate(first[0], first[1], scope)
  const fields: [string, Value][] = []
  for (const [name, value] of expression.fields) {
    const result = evaluate(value, scope)
    if (result !== undefined) fields.push([name, result])
  }
  return Doc.of(fields)
}

function variable([name, ...path]: readonly string[], scope: Scope): Value | undefined {
  switch (name) {
    case 'ROOT':
    case 'CURRENT':
      return field(scope.root, path)
    case 'REMOVE':
      return undefined
    case 'NOW':
      return date(BigInt(Date.now()))
    default: {
      if (!scope.variables?.has(name!)) throw new CommandError(17276, `Use of undefined variable: ${name}`)
      const value = scope.variables.get(name!)
      return value === undefined ? undefined : field(value, path)
    }
  }
}

/** A field path of an expression: arrays on the way are mapped, indexes are not followed. */
function field(value: Value, path: readonly string[]): Value | undefined {
  const [segment, ...rest] = path
  if (segment === undefined) return value
  if (value instanceof Doc) {
    const next = value.get(segment)
    return next === undefined ? undefined : field(next, rest)
  }
  if (!(value instanceof List)) return undefined
  return List.of(value.items.map((item) => field(item, path)).filter((item) => item !== undefined))
}

type Operator = (args: readonly (Value | undefined)[], scope: Scope) => Value | undefined

const order =
  (wanted: (order: number) => boolean): Operator =>
  ([left, right]) => {
    // A missing value sorts before all others but the smallest key.
    if (left === undefined || right === undefined)
      return bool(wanted(Number(left !== undefined) - Number(right !== undefined)))
    return bool(wanted(compareValues(left, right)))
  }

const missing = (value: Value | undefined) =>
  value === undefined || value.type === TYPE.null || value.type === TYPE.undefined

const OPERATORS: { readonly [name: string]: Operator } = {
  $eq: order((found) => found === 0),
  $ne: order((found) => found !== 0),
  $gt: order((found) => found > 0),
  $gte: order((found) => found >= 0),
  $lt: order((found) => found < 0),
  $lte: order((found) => found <= 0),
  $cmp: ([left, right]) =>
    int32(
      left === undefined || right === undefined
        ? Number(left !== undefined) - Number(right !== undefined)
        : Math.sign(compareValues(left, right)),
    ),
  $not: ([value]) => bool(!isTrue(value)),
  $in: ([value, list]) => {
    if (!(list instanceof List)) throw new CommandError(40081, '$in requires an array as a second argument')
    return bool(value !== undefined && list.items.some((item) => sameValue(item, value)))
  },
  $type: ([value]) => string(typeName(value)),
  $isArray: ([value]) => bool(value instanceof List),
  $isNumber: ([value]) => bool(value !== undefined && numberOf(value) !== undefined),
  $size: ([value]) => {
    if (!(value instanceof List)) throw new CommandError(17124, 'The argument to $size must be an array')
    return int32(value.items.length)
  },
  $bsonSize: ([value]) => (value instanceof Doc ? int32(value.bytes.length) : NULL),
  $binarySize: ([value]) =>
    missing(value)
      ? NULL
      : int32(value!.type === TYPE.binary ? value!.bytes.readInt32LE() : value!.bytes.length - 5),
  $concat: (args) => (args.some(missing) ? NULL : string(args.map((value) => textOf(value) ?? '').join(''))),
  $arrayElemAt: ([list, index]) => (list instanceof List ? list.items.at(numberOf(index) ?? 0) : NULL),
  $first: ([list]) => (list instanceof List ? list.items[0] : NULL),
  $last: ([list]) => (list instanceof List ? list.items.at(-1) : NULL),
  $mergeObjects: (args) => Doc.of(args.flatMap((value) => (value instanceof Doc ? [...value.fields] : []))),
  $objectToArray: ([value]) =>
    value instanceof Doc
      ? List.of(
          [...value.fields].map(([name, field]) =>
            Doc.of([
              ['k', string(name)],
              ['v', field],
            ]),
          ),
        )
      : NULL,
  $toString: ([value]) => (missing(value) ? NULL : (toText(value!) ?? mingo('$toString', value!))),
}

function toText(value: Value): Value | undefined {
  const text = textOf(value)
  if (text !== undefined) return string(text)
  return value.type === TYPE.objectId ? string(value.bytes.toString('hex')) : undefined
}

function operate(name: string, argument: Value, scope: Scope): Value | undefined {
  const args = argument instanceof List ? argument.items : [argument]
  switch (name) {
    case '$literal':
      return argument
    case '$and':
      return bool(args.every((arg) => isTrue(evaluate(arg, scope))))
    case '$or':
      return bool(args.some((arg) => isTrue(evaluate(arg, scope))))
    case '$cond': {
      const [test, yes, no] =
        argument instanceof Doc ? ['if', 'then', 'else'].map((part) => argument.get(part)!) : args
      return evaluate(isTrue(evaluate(test!, scope)) ? yes! : no!, scope)
    }
    case '$ifNull': {
      for (const arg of args.slice(0, -1)) {
        const value = evaluate(arg, scope)
        if (!missing(value)) return value
      }
      return evaluate(args.at(-1)!, scope)
    }
    case '$switch': {
      const { branches, default: otherwise } = Object.fromEntries((argument as Doc).fields)
      for (const branch of (branches as List).items)
        if (isTrue(evaluate((branch as Doc).get('case')!, scope)))
          return evaluate((branch as Doc).get('then')!, scope)
      if (otherwise === undefined)
        throw new CommandError(
          40066,
          '$switch could not find a matching branch for an input, and no default was specified.',
        )
      return evaluate(otherwise, scope)
    }
    case '$let': {
      const variables = new Map(scope.variables)
      for (const [variableName, value] of ((argument as Doc).get('vars') as Doc).fields)
        variables.set(variableName, evaluate(value, scope))
      return evaluate((argument as Doc).get('in')!, { ...scope, variables })
    }
    case '$getField': {
      const input = argument instanceof Doc ? evaluate(argument.get('input')!, scope) : scope.root
      const key = textOf(argument instanceof Doc ? evaluate(argument.get('field')!, scope) : argument)!
      return input instanceof Doc ? input.get(key) : undefined
    }
    case '$filter':
    case '$map': {
      const spec = argument as Doc
      const input = evaluate(spec.get('input')!, scope)
      if (!(input instanceof List)) return NULL
      const as = textOf(spec.get('as')) ?? 'this'
      const inner = (item: Value) => ({ ...scope, variables: new Map(scope.variables).set(as, item) })
      return List.of(
        name === '$map'
          ? input.items.map((item) => evaluate(spec.get('in')!, inner(item)) ?? NULL)
          : input.items.filter((item) => isTrue(evaluate(spec.get('cond')!, inner(item)))),
      )
    }
    default: {
      const operator = OPERATORS[name]
      if (operator)
        return operator(
          args.map((arg) => evaluate(arg, scope)),
          scope,
        )
      return mingo(name, evaluate(argument, scope) ?? NULL)
    }
  }
}

/** The rarer operators, over values as JavaScript has them. */
function mingo(name: string, argument: Value): Value | undefined {
  const literal = (value: Value) => ({ $literal: valueToJs(value) })
  const operand =
    argument instanceof List
      ? argument.items.map(literal)
      : argument instanceof Doc
        ? Object.fromEntries([...argument.fields].map(([key, value]) => [key, literal(value)]))
        : literal(argument)
  try {
    const [row] = aggregate([{}], [{ $project: { value: { [name]: operand } } }]) as { value?: unknown }[]
    const result = row?.value
    if (result === undefined) return undefined
    return typeof result === 'number' && !Number.isInteger(result) ? double(result) : valueOf(result)
  } catch (error) {
    throw new CommandError(168, `Unrecognized expression '${name}': ${(error as Error).message}`)
  }
}
