/**
 * Conditions on documents in MongoDB's query language, with the meaning that its manual gives them.
 *
 * - Fields: equality (also with null, whole objects and whole arrays), `$eq $ne $gt $gte $lt $lte $in $nin $exists $type
 *   $regex` with `$options`, `$all $size $elemMatch $not $mod`.
 * - Beside fields: `$and $or $nor`, `$expr` with any expression of `expression.ts`, `$comment`.
 * - Values of types that JSON lacks are MongoDB Extended JSON v2; see `extended-json.ts`. Regular expressions: see
 *   `pattern.ts`.
 *
 * A path goes through arrays by itself, and a condition is true when one of the values on it meets it. `{a: null}` is
 * true for null and for a missing field. Types do not mix: a number is never above or below a text.
 */
import type { Json } from '../../position.ts'
import type { Predicate } from '../mapping.ts'
import type { MappingMistake } from '../mistake.ts'
import { pathsToRead } from '../path.ts'
import { QueryCompiler } from './query-compiler.ts'

export type CompiledQuery =
  | { readonly predicate: Predicate; readonly mistakes: null }
  | { readonly predicate: null; readonly mistakes: readonly MappingMistake[] }

/**
 * Compiles a condition on documents, or lists all its mistakes. Its test throws `PoisonRecordError`
 * (`mapping/cannot-compute`) where a `$expr` cannot be computed, and never otherwise.
 */
export function compileQuery(query: Json): CompiledQuery {
  const compiler = new QueryCompiler()
  const test = compiler.conditions(query, [])
  if (compiler.mistakes.length > 0) return { predicate: null, mistakes: compiler.mistakes }
  return { predicate: { paths: pathsToRead(compiler.paths), test }, mistakes: null }
}
