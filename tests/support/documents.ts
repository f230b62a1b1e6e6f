import { documentOf } from '../../src/core/mapping/document.ts'
import { compileExpression } from '../../src/core/mapping/expression/expression.ts'
import { fromExtendedJson } from '../../src/core/mapping/values/extended-json.ts'
import { compileQuery } from '../../src/core/mapping/query/query.ts'
import type { DocumentValue, LazyDocument, ObjectValue } from '../../src/core/mapping/value.ts'
import type { Json } from '../../src/core/position.ts'

/** A document, written in Extended JSON. */
export function doc(json: Json): LazyDocument {
  return documentOf(fromExtendedJson(json) as ObjectValue)
}

/** Whether a document matches; throws when the query has mistakes. */
export function matches(query: Json, document: Json): boolean {
  const { predicate, mistakes } = compileQuery(query)
  if (predicate === null) throw new Error(JSON.stringify(mistakes))
  return predicate.test(doc(document))
}

/** What an expression gives; throws when it has mistakes. */
export function evaluated(expression: Json, document: Json = {}): DocumentValue | undefined {
  const compiled = compileExpression(expression, 'column "c"')
  if (compiled.expression === null) throw new Error(JSON.stringify(compiled.mistakes))
  return compiled.expression.evaluate(doc(document))
}
