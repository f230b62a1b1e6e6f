import { compareValues, identical, sameValue } from './compare.ts'
import { CommandError } from './errors.ts'
import type { UpdateDescription } from './log.ts'
import { addNumbers, multiplyNumbers, numericBits } from './number.ts'
import { getPath, isIndex, removePath, setPath } from './path.ts'
import { isOperators, matches } from './query.ts'
import { date, Doc, List, NULL, numberOf, textOf, timestamp, type Value } from './value.ts'

/** What an update needs besides its operators. */
export interface UpdateContext {
  readonly filter: Doc
  readonly arrayFilters: readonly Doc[]
  /** The update inserts a new document. */
  readonly inserting: boolean
  readonly now: number
  readonly clusterTime: bigint
}

/** A document after an update, and what changed; `null` when nothing did. */
export interface Updated {
  readonly document: Doc
  readonly update: UpdateDescription | null
}

/** Applies update operators. */
export function applyOperators(document: Doc, operators: Doc, context: UpdateContext): Updated {
  const editor = new Editor(document, context)
  for (const [operator, argument] of operators.fields) {
    if (!(argument instanceof Doc))
      throw new CommandError(9, `Modifiers operate on fields but we found another type for ${operator}`)
    for (const [path, operand] of argument.fields) editor.apply(operator, path, operand)
  }
  return editor.done()
}

class Editor {
  readonly #context: UpdateContext
  #document: Doc
  readonly #updated = new Map<string, Value>()
  readonly #removed = new Set<string>()
  readonly #unclear = new Map<string, readonly (string | number)[]>()

  constructor(document: Doc, context: UpdateContext) {
    this.#document = document
    this.#context = context
  }

  apply(operator: string, name: string, operand: Value): void {
    if (operator === '$setOnInsert' && !this.#context.inserting) return
    if (operator === '$rename') {
      const value = getPath(this.#document, name.split('.'))
      if (value === undefined) return
      this.#remove(name.split('.'))
      this.#set(textOf(operand)!.split('.'), value)
      return
    }
    for (const path of this.#expand([], name.split('.'))) this.#one(operator, path, operand)
  }

  done(): Updated {
    if (this.#updated.size === 0 && this.#removed.size === 0)
      return { document: this.#document, update: null }
    return {
      document: this.#document,
      update: {
        updatedFields: Doc.of(this.#updated),
        removedFields: [...this.#removed],
        truncatedArrays: [],
        disambiguatedPaths: this.#unclear,
      },
    }
  }

  #one(operator: string, path: readonly string[], operand: Value): void {
    const old = getPath(this.#document, path)
    switch (operator) {
      case '$set':
      case '$setOnInsert':
        return this.#set(path, operand)
      case '$unset':
        return this.#remove(path)
      case '$inc':
        return this.#set(path, addNumbers(old, operand, path.join('.')))
      case '$mul':
        return this.#set(path, multiplyNumbers(old, operand, path.join('.')))
      case '$min':
        if (old === undefined || compareValues(operand, old) < 0) this.#set(path, operand)
        return
      case '$max':
        if (old === undefined || compareValues(operand, old) > 0) this.#set(path, operand)
        return
      case '$currentDate': {
        const asTimestamp = operand instanceof Doc && textOf(operand.get('$type')) === 'timestamp'
        return this.#set(
          path,
          asTimestamp ? timestamp(this.#context.clusterTime) : date(BigInt(this.#context.now)),
        )
      }
      case '$bit':
        return this.#set(path, numericBits(old, operand as Doc))
      case '$push':
        return this.#push(path, arrayAt(old, path, operator), operand)
      case '$addToSet': {
        const items = arrayAt(old, path, operator)
        const found = operand instanceof Doc ? operand.get('$each') : undefined
        const added: Value[] = []
        for (const item of found instanceof List ? found.items : [operand])
          if (![...items, ...added].some((known) => sameValue(known, item))) added.push(item)
        if (added.length > 0 || old === undefined) this.#set(path, List.of([...items, ...added]))
        return
      }
      case '$pop': {
        if (old === undefined) return
        const items = arrayAt(old, path, operator)
        if (items.length > 0)
          this.#set(path, List.of(numberOf(operand) === -1 ? items.slice(1) : items.slice(0, -1)))
        return
      }
      case '$pull':
      case '$pullAll': {
        if (old === undefined) return
        const items = arrayAt(old, path, operator)
        const kept = items.filter((item) => !pulled(operator, item, operand))
        if (kept.length < items.length) this.#set(path, List.of(kept))
        return
      }
      default:
        throw new CommandError(
          9,
          `Unknown modifier: ${operator}. Expected a valid update modifier or pipeline-style update specified as an array`,
        )
    }
  }

  #push(path: readonly string[], items: readonly Value[], operand: Value): void {
    const modifiers = operand instanceof Doc && operand.get('$each') instanceof List ? operand : null
    const added = modifiers ? (modifiers.get('$each') as List).items : [operand]
    const position = numberOf(modifiers?.get('$position'))
    const at =
      position === undefined ? items.length : position < 0 ? Math.max(0, items.length + position) : position
    let result = items.toSpliced(at, 0, ...added)
    const order = modifiers?.get('$sort')
    if (order instanceof Doc) result = result.toSorted((a, b) => compareBy(order, a, b))
    else if (order) result = result.toSorted((a, b) => numberOf(order)! * compareValues(a, b))
    const slice = numberOf(modifiers?.get('$slice'))
    if (slice !== undefined) result = slice < 0 ? result.slice(slice) : result.slice(0, slice)
    const appended = at >= items.length && order === undefined && slice === undefined
    // A plain append to an array with elements is logged by its new elements only.
    if (appended && items.length > 0)
      for (const [offset, item] of added.entries()) this.#set([...path, String(items.length + offset)], item)
    else this.#set(path, List.of(result))
  }

  #set(path: readonly string[], value: Value): void {
    const old = getPath(this.#document, path)
    if (old !== undefined && identical(old, value)) return
    this.#guard(path, old, value)
    this.#viable(path)
    // What has to be made for the path is logged as a whole, at its first new part.
    let length = 1
    while (length < path.length && getPath(this.#document, path.slice(0, length)) !== undefined) length++
    this.#document = setPath(this.#document, path, value) as Doc
    const logged = path.slice(0, length)
    this.#record(logged, getPath(this.#document, logged)!)
  }

  #remove(path: readonly string[]): void {
    const old = getPath(this.#document, path)
    if (old === undefined) return
    this.#guard(path, old, undefined)
    this.#document = removePath(this.#document, path) as Doc
    if (getPath(this.#document, path.slice(0, -1)) instanceof List) return this.#record(path, NULL)
    const name = path.join('.')
    this.#updated.delete(name)
    this.#removed.add(name)
    this.#clarify(path)
  }

  #record(path: readonly string[], value: Value): void {
    const name = path.join('.')
    this.#removed.delete(name)
    this.#updated.set(name, value)
    this.#clarify(path)
  }

  /** A number in a path may be the index of an array or the name of a field. */
  #clarify(path: readonly string[]): void {
    const parts = path.map((segment, index) =>
      isIndex(segment) && getPath(this.#document, path.slice(0, index)) instanceof List
        ? Number(segment)
        : segment,
    )
    if (isUnclear(parts)) this.#unclear.set(path.join('.'), parts)
  }

  #guard(path: readonly string[], old: Value | undefined, value: Value | undefined): void {
    if (path[0] !== '_id' || this.#context.inserting) return
    if (path.length === 1 && old !== undefined && value !== undefined && sameValue(old, value)) return
    throw new CommandError(
      66,
      `Performing an update on the path '${path.join('.')}' would modify the immutable field '_id'`,
    )
  }

  #viable(path: readonly string[]): void {
    for (let length = 1; length < path.length; length++) {
      const at = getPath(this.#document, path.slice(0, length))
      if (at === undefined) return
      const fits = at instanceof Doc || (at instanceof List && isIndex(path[length]!))
      if (!fits)
        throw new CommandError(
          28,
          `Cannot create field '${path[length]}' in element {${path[length - 1]}: ...}`,
        )
    }
  }

  /** The paths that a path with `$`, `$[]` or `$[name]` means. */
  *#expand(before: readonly string[], after: readonly string[]): Generator<readonly string[]> {
    const [segment, ...rest] = after
    if (segment === undefined) return yield before
    if (segment !== '$' && !segment.startsWith('$[')) return yield* this.#expand([...before, segment], rest)
    const list = getPath(this.#document, before)
    if (!(list instanceof List))
      throw new CommandError(
        2,
        `The path '${before.join('.')}' must exist in the document in order to apply array updates.`,
      )
    const name = segment.slice(2, -1)
    const chosen = [...list.items.entries()].filter(([, item]) =>
      segment === '$' ? this.#isMatched(before, item) : name === '' || this.#isFiltered(name, item),
    )
    for (const [index] of segment === '$' ? chosen.slice(0, 1) : chosen)
      yield* this.#expand([...before, String(index)], rest)
  }

  #isFiltered(name: string, item: Value): boolean {
    const filter = this.#context.arrayFilters.find(
      ({ fields }) => [...fields.keys()][0]?.split('.')[0] === name,
    )
    if (!filter) throw new CommandError(2, `No array filter found for identifier '${name}'`)
    return matches(filter, Doc.of([[name, item]]))
  }

  /** Whether the filter of the update chose the document by this element of the array. */
  #isMatched(path: readonly string[], item: Value): boolean {
    const prefix = path.join('.')
    return [...this.#context.filter.fields].some(([name, condition]) => {
      if (name !== prefix && !name.startsWith(`${prefix}.`)) return false
      const inner = condition instanceof Doc ? condition.get('$elemMatch') : undefined
      if (inner instanceof Doc && !isOperators(inner)) return item instanceof Doc && matches(inner, item)
      const rest = name.slice(prefix.length + 1)
      return matches(Doc.of([[rest === '' ? 'x' : `x.${rest}`, inner ?? condition]]), Doc.of([['x', item]]))
    })
  }
}

function arrayAt(value: Value | undefined, path: readonly string[], operator: string): readonly Value[] {
  if (value === undefined) return []
  if (value instanceof List) return value.items
  throw new CommandError(2, `The field '${path.join('.')}' must be an array for ${operator}`)
}

function pulled(operator: string, item: Value, operand: Value): boolean {
  if (operator === '$pullAll') return (operand as List).items.some((wanted) => sameValue(wanted, item))
  if (operand instanceof Doc && !isOperators(operand)) return item instanceof Doc && matches(operand, item)
  return matches(Doc.of([['x', operand]]), Doc.of([['x', item]]))
}

function compareBy(order: Doc, left: Value, right: Value): number {
  for (const [path, direction] of order.fields) {
    const found =
      numberOf(direction)! *
      compareValues(getPath(left, path.split('.')) ?? NULL, getPath(right, path.split('.')) ?? NULL)
    if (found !== 0) return found
  }
  return 0
}

/** What changed between two states of a document, as the log has it for an update by a pipeline. */
export function difference(before: Doc, after: Doc): UpdateDescription | null {
  const updated = new Map<string, Value>()
  const removed: string[] = []
  const truncated: { field: string; newSize: number }[] = []
  const unclear = new Map<string, readonly (string | number)[]>()
  const compareFields = (left: Doc, right: Doc, path: readonly (string | number)[]) => {
    for (const name of left.fields.keys()) if (right.get(name) === undefined) note([...path, name], removed)
    for (const [name, value] of right.fields) compareAt(left.get(name), value, [...path, name])
  }
  const compareAt = (left: Value | undefined, right: Value, path: readonly (string | number)[]) => {
    if (left !== undefined && identical(left, right)) return
    if (left instanceof Doc && right instanceof Doc && right.fields.size > 0) compareFields(left, right, path)
    else if (left instanceof List && right instanceof List && shares(left, right)) {
      if (right.items.length < left.items.length)
        truncated.push({ field: path.join('.'), newSize: right.items.length })
      for (const [index, item] of right.items.entries()) compareAt(left.items[index], item, [...path, index])
    } else {
      updated.set(path.join('.'), right)
      clarify(path)
    }
  }
  const note = (path: readonly (string | number)[], names: string[]) => {
    names.push(path.join('.'))
    clarify(path)
  }
  const clarify = (path: readonly (string | number)[]) => {
    if (isUnclear(path)) unclear.set(path.join('.'), path)
  }
  compareFields(before, after, [])
  if (updated.size === 0 && removed.length === 0 && truncated.length === 0) return null
  return {
    updatedFields: Doc.of(updated),
    removedFields: removed,
    truncatedArrays: truncated,
    disambiguatedPaths: unclear,
  }
}

/** Whether a dotted path could be read in two ways; the first part of a path is never an index. */
function isUnclear(path: readonly (string | number)[]): boolean {
  return path.some(
    (part, index) => typeof part === 'string' && (part.includes('.') || (index > 0 && isIndex(part))),
  )
}

function shares(left: List, right: List): boolean {
  return right.items.some(
    (item, index) => left.items[index] !== undefined && identical(left.items[index]!, item),
  )
}
