/**
 * What the stages of a mapping make of a document, worked out by name while the mapping is read: every field is one of
 * the source, is computed from fields of the source, or is gone. So a column is a path wherever that says the same, and
 * nothing is built that no column asks for.
 */
import type { Json } from '../../position.ts'
import { canonicalText } from '../values/canonical-json.ts'
import { compileExpression } from '../expression/expression.ts'
import type { ColumnRule, Expression, Path } from '../mapping.ts'
import type { MappingMistake } from '../mistake.ts'
import { parsePath, valueAt } from '../path.ts'
import type { DocumentValue, LazyDocument, ObjectValue } from '../value.ts'

/** A field after some stages. Expressions read the document of the source. */
export type Field =
  | { readonly kind: 'path'; readonly path: Path }
  | { readonly kind: 'expression'; readonly expression: Expression; readonly text: string }
  | { readonly kind: 'gone' }

export type CompiledField =
  | { readonly field: Field; readonly mistakes: null }
  | { readonly field: null; readonly mistakes: readonly MappingMistake[] }

const GONE: Field = { kind: 'gone' }

/** The fields of a document after some stages. Never changed: a stage gives a new one. */
export class Shape {
  readonly #fields: ReadonlyMap<string, Field>
  /** Whether fields that nobody named are those of the source. */
  readonly isOpen: boolean

  constructor(fields: ReadonlyMap<string, Field> = new Map(), isOpen = true) {
    this.#fields = fields
    this.isOpen = isOpen
  }

  get #isSource(): boolean {
    return this.isOpen && this.#fields.size === 0
  }

  get fields(): Iterable<readonly [string, Field]> {
    return this.#fields
  }

  with(fields: ReadonlyMap<string, Field>): Shape {
    return new Shape(new Map([...this.#fields, ...fields]), this.isOpen)
  }

  field(name: string): Field {
    return this.#fields.get(name) ?? (this.isOpen ? { kind: 'path', path: [name] } : GONE)
  }

  /** What is at a path; null when that is no path of the source and has to be computed. */
  at(path: Path): Field | null {
    const head = this.field(path[0]!)
    if (path.length === 1 || head.kind === 'gone') return head
    // A field that was read through arrays gives arrays, through which the rest of the path would be read otherwise.
    if (head.kind === 'path' && head.path.length === 1) {
      return { kind: 'path', path: [...head.path, ...path.slice(1)] }
    }
    return null
  }

  /** Whether a field is the source's own of that name. */
  isOwn(name: string): boolean {
    const field = this.field(name)
    return field.kind === 'path' && field.path.length === 1 && field.path[0] === name
  }

  /** Compiles something computed from fields as they are here; a text such as `$a.b` stays a path where it can. */
  compile(json: Json, purpose: string): CompiledField {
    const { expression, mistakes } = compileExpression(json, purpose)
    if (expression === null) return { field: null, mistakes }
    const path = typeof json === 'string' && /^\$[^$]/.test(json) ? parsePath(json.slice(1)).path : null
    const field = path === null ? null : this.at(path)
    return { field: field ?? this.computed(expression, json), mistakes: null }
  }

  computed(expression: Expression, json: Json): Field {
    const text = canonicalText({ compute: json, of: this.textOf(expression.paths) })
    return { kind: 'expression', expression: this.behind(expression), text }
  }

  /** An expression on this shape as one on documents of the source. */
  behind(expression: Expression): Expression {
    if (this.isUntouched(expression.paths)) return expression
    return {
      paths: this.sourcePaths(expression.paths),
      evaluate: (document) => expression.evaluate(this.view(document)),
    }
  }

  isUntouched(paths: readonly Path[]): boolean {
    return this.#isSource || paths.every(([name]) => name !== undefined && this.isOwn(name))
  }

  /** A document of the source, seen as it is here. */
  view(document: LazyDocument): LazyDocument {
    return {
      field: (name) => valueOf(this.field(name), document),
      whole: () => this.#whole(document),
    }
  }

  #whole(document: LazyDocument): ObjectValue {
    const whole = new Map(this.isOpen ? document.whole().value : [])
    for (const [name, field] of this.#fields) {
      const value = valueOf(field, document)
      if (value === undefined) whole.delete(name)
      else whole.set(name, value)
    }
    return { kind: 'object', value: whole }
  }

  /** What of the source is read when these paths are read here. */
  sourcePaths(paths: readonly Path[]): readonly Path[] {
    const all = paths.flatMap(([name, ...rest]): readonly Path[] => {
      // The document as a whole.
      if (name === undefined)
        return [...(this.isOpen ? [[]] : []), ...[...this.#fields.values()].flatMap(pathsOf)]
      const field = this.field(name)
      if (field.kind === 'gone') return []
      return field.kind === 'path' ? [[...field.path, ...rest]] : field.expression.paths
    })
    return [...new Map(all.map((path) => [JSON.stringify(path), path])).values()]
  }

  /** What the fields are that these paths begin with, where they are not the source's own: for fingerprints. */
  textOf(paths: readonly Path[]): Json {
    const wholes = paths.some((path) => path.length === 0)
    const names = new Set(wholes ? this.#fields.keys() : paths.map(([name]) => name!))
    return Object.fromEntries(
      [...names].filter((name) => !this.isOwn(name)).map((name) => [name, fieldText(this.field(name))]),
    )
  }
}

/** The same for fields that are the same. */
export function fieldText(field: Field): Json {
  switch (field.kind) {
    case 'path':
      return { path: field.path }
    case 'expression':
      return field.text
    case 'gone':
      return null
  }
}

/** Null for a field that is gone. */
export function ruleOf(field: Field): ColumnRule | null {
  switch (field.kind) {
    case 'path':
      return field
    case 'expression':
      return { kind: 'expression', expression: field.expression }
    case 'gone':
      return null
  }
}

export function pathsOf(field: Field): readonly Path[] {
  if (field.kind === 'gone') return []
  return field.kind === 'path' ? [field.path] : field.expression.paths
}

/** Whether one of them is inside the other, or they are the same. */
export function overlap(a: Path, b: Path): boolean {
  const length = Math.min(a.length, b.length)
  return a.slice(0, length).every((name, index) => name === b[index])
}

export function valueOf(field: Field, document: LazyDocument): DocumentValue | undefined {
  switch (field.kind) {
    case 'path':
      return valueAt(document, field.path)
    case 'expression':
      return field.expression.evaluate(document)
    case 'gone':
      return undefined
  }
}
