import { CommandError } from './errors.ts'
import { isNumber, numberOf, textOf, TYPE, type Value } from './value.ts'

const ALIASES: { readonly [name: string]: number } = {
  double: TYPE.double,
  string: TYPE.string,
  object: TYPE.document,
  array: TYPE.array,
  binData: TYPE.binary,
  undefined: TYPE.undefined,
  objectId: TYPE.objectId,
  bool: TYPE.bool,
  date: TYPE.date,
  null: TYPE.null,
  regex: TYPE.regex,
  dbPointer: TYPE.dbPointer,
  javascript: TYPE.code,
  symbol: TYPE.symbol,
  javascriptWithScope: TYPE.codeWithScope,
  int: TYPE.int32,
  timestamp: TYPE.timestamp,
  long: TYPE.int64,
  decimal: TYPE.decimal,
  minKey: TYPE.minKey,
  maxKey: TYPE.maxKey,
}

/** The name that `$type` gives a value. */
export function typeName(value: Value | undefined): string {
  if (value === undefined) return 'missing'
  return Object.keys(ALIASES).find((name) => ALIASES[name] === value.type)!
}

/** Whether a value has the type that `$type` is given, by name or number. */
export function isOfType(value: Value, type: Value): boolean {
  const name = textOf(type)
  if (name === 'number') return isNumber(value)
  const wanted = name === undefined ? numberOf(type)! & 0xff : ALIASES[name]
  if (wanted === undefined) throw new CommandError(2, `Unknown type name alias: ${name}`)
  return value.type === wanted
}
