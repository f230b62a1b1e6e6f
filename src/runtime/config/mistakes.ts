/** Turns what a schema found into sentences. Never shows a value: it may have come from a secret (law L14). */
import type * as SchemaAST from 'effect/SchemaAST'
import type * as SchemaIssue from 'effect/SchemaIssue'
import { closest } from '../../core/closest.ts'

/** Keys and list indexes from the top of the file. */
export type Path = readonly (string | number)[]

/** One thing that the user has to change. */
export interface Mistake {
  readonly path: Path
  /** What is wrong and what is right, as a clause without a full stop. */
  readonly reason: string
  /** The mistake is the key itself, not its value. */
  readonly atKey?: boolean
}

/** All mistakes of a failed decode. `input` is what was decoded, for suggestions; `at` is where it stands in the file. */
export function mistakesOf(issue: SchemaIssue.Issue, input: unknown, at: Path): readonly Mistake[] {
  switch (issue._tag) {
    case 'Pointer': {
      const path = [...at, ...issue.path.map(toKey)]
      return mistakesOf(issue.issue, valueAt(input, issue.path), path)
    }
    case 'Encoding':
      return mistakesOf(issue.issue, input, at)
    case 'Composite':
      return issue.issues.flatMap((inner) => mistakesOf(inner, input, at))
    case 'Filter':
      return filterMistakes(issue, input, at)
    case 'AnyOf': {
      const only =
        issue.issues.length === 1 && messageOf(issue.ast) === undefined ? issue.issues[0] : undefined
      if (only !== undefined) return mistakesOf(only, input, at)
      return [{ path: at, reason: messageOf(issue.ast) ?? expected(issue.ast, input) }]
    }
    case 'InvalidType':
      return [{ path: at, reason: messageOf(issue.ast) ?? expected(issue.ast, input) }]
    case 'MissingKey':
      return [{ path: at, reason: 'is required' }]
    case 'UnexpectedKey':
      return [{ path: at, reason: unknownKey(String(at.at(-1)), keysOf(issue.ast)), atKey: true }]
    case 'InvalidValue':
    case 'Forbidden':
      return [{ path: at, reason: withoutInput(issue.annotations?.['message']) }]
    case 'OneOf':
      return [{ path: at, reason: 'fits more than one of the possible forms' }]
  }
}

/** Says that a key is not known, and which one was probably meant. */
function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known)
  if (near !== null) return `unknown option, did you mean "${near}"?`
  return known.length === 0
    ? 'unknown option; there are none here'
    : `unknown option; known: ${known.join(', ')}`
}

function filterMistakes(issue: SchemaIssue.Filter, input: unknown, at: Path): readonly Mistake[] {
  const message = issue.filter.annotations?.['message']
  if (typeof message === 'string') return [{ path: at, reason: message }]
  const inner = mistakesOf(issue.issue, input, at)
  const wanted = issue.filter.annotations?.['expected']
  if (typeof wanted !== 'string') return inner
  return inner.map((mistake) =>
    mistake.path.length > at.length ? mistake : { path: at, reason: `must be ${wanted}` },
  )
}

function expected(ast: SchemaAST.AST, input: unknown): string {
  if (input === null) return `is empty; must be ${describe(ast)}`
  const words = wordsOf(ast)
  if (words === null) return `must be ${describe(ast)}`
  const near = typeof input === 'string' ? closest(input, words) : null
  return `must be one of ${words.join(', ')}${near === null ? '' : `; did you mean "${near}"?`}`
}

function describe(ast: SchemaAST.AST): string {
  switch (ast._tag) {
    case 'String':
    case 'TemplateLiteral':
      return 'text'
    case 'Number':
      return 'a number'
    case 'Boolean':
      return 'true or false'
    case 'Literal':
      return String(ast.literal)
    case 'Arrays':
      return 'a list'
    case 'Objects':
      return 'a group of options'
    case 'Union':
      return ast.types.map(describe).join(' or ')
    default:
      return 'another kind of value'
  }
}

/** The words of a choice; null when it is not one. */
function wordsOf(ast: SchemaAST.AST): readonly string[] | null {
  const members = ast._tag === 'Union' ? ast.types : [ast]
  const words = members.flatMap((member) => (member._tag === 'Literal' ? [String(member.literal)] : []))
  return words.length === members.length ? words : null
}

function keysOf(ast: SchemaAST.AST): readonly string[] {
  return ast._tag === 'Objects' ? ast.propertySignatures.map((signature) => String(signature.name)) : []
}

function messageOf(ast: SchemaAST.AST): string | undefined {
  // Annotations of the node itself: `SchemaAST.resolve` would give those of its last check.
  const message = ast.annotations?.['message']
  return typeof message === 'string' ? message : undefined
}

function withoutInput(message: unknown): string {
  return typeof message === 'string' ? message : 'is not valid'
}

function toKey(key: PropertyKey): string | number {
  return typeof key === 'number' ? key : String(key)
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => {
    return typeof value === 'object' && value !== null
      ? (value as Record<PropertyKey, unknown>)[key]
      : undefined
  }, input)
}
