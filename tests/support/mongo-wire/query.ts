import { compareValues, rankOf, sameValue } from './compare.ts'
import { CommandError } from './errors.ts'
import { evaluate } from './expression.ts'
import { reach } from './path.ts'
import { isOfType } from './type-names.ts'
import { Doc, isNumber, isTrue, List, numberOf, Scalar, textOf, TYPE, type Value } from './value.ts'

/** Whether a document satisfies a filter. */
export function matches(filter: Doc, document: Doc): boolean {
  for (const [name, condition] of filter.fields) if (!matchesField(name, condition, document)) return false
  return true
}

function matchesField(name: string, condition: Value, document: Doc): boolean {
  switch (name) {
    case '$and':
      return clauses(name, condition).every((clause) => matches(clause, document))
    case '$or':
      return clauses(name, condition).some((clause) => matches(clause, document))
    case '$nor':
      return !clauses(name, condition).some((clause) => matches(clause, document))
    case '$expr':
      return isTrue(evaluate(condition, { root: document }))
    case '$comment':
      return true
    default:
      if (name.startsWith('$')) throw new CommandError(2, `unknown top level operator: ${name}`)
      return matchesValues([...reach(document, name.split('.'))], condition)
  }
}

type Candidates = readonly (Value | undefined)[]

/** Whether what a path reaches satisfies a value or a document of operators. */
function matchesValues(values: Candidates, condition: Value): boolean {
  if (!isOperators(condition))
    return condition.type === TYPE.regex ? anyText(values, condition) : equals(values, condition)
  for (const [operator, operand] of condition.fields)
    if (!matchesOperator(values, operator, operand, condition)) return false
  return true
}

export function isOperators(condition: Value): condition is Doc {
  if (!(condition instanceof Doc)) return false
  const first = condition.fields.keys().next().value
  return first !== undefined && first.startsWith('$') && !['$ref', '$id', '$db'].includes(first)
}

function matchesOperator(values: Candidates, operator: string, operand: Value, all: Doc): boolean {
  switch (operator) {
    case '$eq':
      return equals(values, operand)
    case '$ne':
      return !equals(values, operand)
    case '$gt':
      return ordered(values, operand, (order) => order > 0)
    case '$gte':
      return ordered(values, operand, (order) => order >= 0)
    case '$lt':
      return ordered(values, operand, (order) => order < 0)
    case '$lte':
      return ordered(values, operand, (order) => order <= 0)
    case '$in':
      return list(operator, operand).some((item) =>
        item.type === TYPE.regex ? anyText(values, item) : equals(values, item),
      )
    case '$nin':
      return !list(operator, operand).some((item) =>
        item.type === TYPE.regex ? anyText(values, item) : equals(values, item),
      )
    case '$not':
      return !matchesValues(values, operand)
    case '$exists':
      return values.some((value) => value !== undefined) === isTrue(operand)
    case '$type':
      return (operand instanceof List ? operand.items : [operand]).some((type) =>
        items(values).some((value) => value !== undefined && isOfType(value, type)),
      )
    case '$size':
      return values.some((value) => value instanceof List && value.items.length === numberOf(operand))
    case '$all':
      return list(operator, operand).every((item) =>
        item instanceof Doc && item.get('$elemMatch')
          ? matchesOperator(values, '$elemMatch', item.get('$elemMatch')!, item)
          : equals(values, item),
      )
    case '$elemMatch':
      return values.some(
        (value) =>
          value instanceof List &&
          value.items.some((item) =>
            isOperators(operand) && !['$and', '$or', '$nor', '$expr'].some((name) => operand.get(name))
              ? matchesValues([item], operand)
              : item instanceof Doc && matches(operand as Doc, item),
          ),
      )
    case '$mod': {
      const [divisor, remainder] = list(operator, operand).map((item) =>
        Math.trunc(numberOf(item) ?? Number.NaN),
      )
      return items(values).some((value) => {
        const number = numberOf(value)
        return number !== undefined && Math.trunc(number) % divisor! === remainder
      })
    }
    case '$regex':
      return anyText(values, operand, textOf(all.get('$options')))
    case '$options':
    case '$comment':
      return true
    default:
      throw new CommandError(2, `unknown operator: ${operator}`)
  }
}

/** The values themselves and what lies in those that are arrays. */
function items(values: Candidates): Candidates {
  return values.flatMap((value) => (value instanceof List ? [value, ...value.items] : [value]))
}

function equals(values: Candidates, operand: Value): boolean {
  if (operand.type === TYPE.null)
    return items(values).some(
      (value) => value === undefined || value.type === TYPE.null || value.type === TYPE.undefined,
    )
  return items(values).some((value) => value !== undefined && sameValue(value, operand))
}

function ordered(values: Candidates, operand: Value, wanted: (order: number) => boolean): boolean {
  const everyType = operand.type === TYPE.minKey || operand.type === TYPE.maxKey
  return items(values).some((value) => {
    if (value === undefined) return operand.type === TYPE.null && wanted(0)
    // A number that is none is neither less nor greater than another.
    if (
      isNumber(value) &&
      isNumber(operand) &&
      Number.isNaN(numberOf(value)) !== Number.isNaN(numberOf(operand))
    )
      return false
    return (everyType || rankOf(value) === rankOf(operand)) && wanted(compareValues(value, operand))
  })
}

function anyText(values: Candidates, pattern: Value, options?: string): boolean {
  const regex = regexOf(pattern, options)
  return items(values).some((value) => {
    const text = value && value.type !== TYPE.code ? textOf(value) : undefined
    return text === undefined ? value?.type === TYPE.regex && sameValue(value, pattern) : regex.test(text)
  })
}

export function regexOf(pattern: Value, options?: string): RegExp {
  if (pattern instanceof Scalar && pattern.type === TYPE.regex) {
    const end = pattern.bytes.indexOf(0)
    const flags = pattern.bytes.toString('utf8', end + 1, pattern.bytes.length - 1)
    return new RegExp(pattern.bytes.toString('utf8', 0, end), jsFlags(options ?? flags))
  }
  return new RegExp(textOf(pattern) ?? '', jsFlags(options ?? ''))
}

function jsFlags(flags: string): string {
  return `${flags.replace(/[^ims]/g, '')}u`
}

function clauses(operator: string, condition: Value): readonly Doc[] {
  const found = condition instanceof List ? condition.items : []
  if (found.length === 0) throw new CommandError(2, `${operator} must be a nonempty array`)
  return found.map((clause) => {
    if (!(clause instanceof Doc)) throw new CommandError(2, `${operator} entries need to be full objects`)
    return clause
  })
}

function list(operator: string, operand: Value): readonly Value[] {
  if (operand instanceof List) return operand.items
  throw new CommandError(2, `${operator} needs an array`)
}
