/**
 * Computed values in MongoDB's aggregation language, with the meaning that its manual gives them.
 *
 * `$a.b` is a field, `$$ROOT` the whole document, `$$REMOVE` nothing; objects and arrays may hold expressions, and all
 * else is a value of Extended JSON v2. The operators stand by theme in `expression-*.ts`.
 */
import type { Json } from '../../position.ts'
import { ExpressionCompiler, scopeOf } from './expression-compiler.ts'
import { isTyped } from '../values/extended-json.ts'
import { isJsonObject } from '../values/json.ts'
import type { Expression } from '../mapping.ts'
import type { MappingMistake } from '../mistake.ts'
import { pathsToRead } from '../path.ts'

export type CompiledExpression =
  | { readonly expression: Expression; readonly mistakes: null }
  | { readonly expression: null; readonly mistakes: readonly MappingMistake[] }

/**
 * Compiles an expression, or lists all its mistakes. `purpose` begins the message of run-time errors, such as
 * `column "total"`: `PoisonRecordError` with the code `mapping/cannot-compute`, which names the operator too.
 */
export function compileExpression(json: Json, purpose = 'a value'): CompiledExpression {
  const mistakes: MappingMistake[] = []
  const compiler = new ExpressionCompiler(purpose, mistakes)
  const { evaluate } = compiler.compile(json, [])
  if (mistakes.length > 0) return { expression: null, mistakes }
  const expression: Expression = {
    paths: pathsToRead(compiler.paths),
    evaluate: (document) => evaluate(scopeOf(document)),
  }
  return { expression, mistakes: null }
}

/** Whether it is computed: a text that begins with `$`, or an object with an operator. */
export function isExpression(json: Json): boolean {
  if (typeof json === 'string') return json.startsWith('$')
  return isJsonObject(json) && !isTyped(json) && Object.keys(json)[0]?.startsWith('$') === true
}
