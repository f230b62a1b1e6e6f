import * as Effect from 'effect/Effect'
import * as Result from 'effect/Result'
import type { ConnectorContext } from '../core/context.ts'
import { type CoreError, PreconditionError, type Problem } from '../core/error.ts'
import { selectTables } from '../core/selection.ts'
import type { Sink, SinkCapabilities } from '../core/sink.ts'
import type { Source, SourceCapabilities } from '../core/source.ts'
import type { PipelineDefinition } from './definition.ts'
import { call, release } from './lift.ts'

/**
 * Everything that stands in the way of a start, from source, sinks and their combination, at once (law L13). Uses
 * instances of its own and changes nothing. Fails when a side could not even be asked and nothing else is wrong.
 */
export function check(
  definition: PipelineDefinition,
  context: ConnectorContext,
): Effect.Effect<readonly Problem[], CoreError> {
  return Effect.gen(function* () {
    const source = definition.source.create()
    const sinks = definition.sinks.map((sink) => ({ name: sink.name, sink: sink.create() }))
    const answers = yield* Effect.all(
      [
        ask(source, () => source.validate({ ...context, tables: selectTables(definition.tables) })),
        ...sinks.map(({ sink }) => ask(sink, () => sink.validate(context))),
      ],
      { concurrency: 'unbounded' },
    )
    const problems: Problem[] = [...composition(definition)]
    const failures: CoreError[] = []
    for (const answer of answers) {
      if (Result.isSuccess(answer)) problems.push(...answer.success)
      else failures.push(answer.failure)
    }
    for (const { name, sink } of sinks)
      problems.push(...reconcile(source.capabilities(), name, sink.capabilities()))
    const wrong = problems.some((problem) => problem.severity === 'error')
    const [first] = failures
    if (first === undefined) return problems
    if (!wrong && (failures.length === 1 || failures.every((failure) => failure.retryable)))
      return yield* Effect.fail(first)
    return [...problems, ...failures.map(toProblem)]
  })
}

/** Fails with the complete list when there is an error in it. */
export function refuse(problems: readonly Problem[]): Effect.Effect<void, PreconditionError> {
  const errors = problems.filter((problem) => problem.severity === 'error')
  return errors.length === 0 ? Effect.void : Effect.fail(new PreconditionError(errors))
}

/** What a source sends and a sink cannot take. */
function reconcile(source: SourceCapabilities, name: string, sink: SinkCapabilities): readonly Problem[] {
  const problems: Problem[] = []
  const report = (
    code: string,
    message: string,
    fix: string,
    severity: Problem['severity'] = 'error',
  ): void => {
    problems.push({ severity, code: `pipeline/${code}`, message, fix })
  }
  if (source.replay === 'none') {
    report(
      'no-replay',
      'the source cannot repeat its changes: what happens while the pipeline is down, or is not durable when it ends, is lost',
      'Use it where that may happen, or a source with a log.',
      'warning',
    )
  }
  const missing = source.schemaChanges.filter(
    (kind) => kind !== 'truncate' && !sink.schemaChanges.includes(kind),
  )
  if (missing.length > 0) {
    report(
      'schema-changes',
      `sink "${name}" cannot follow ${missing.join(', ')} of the source: the pipeline stops at one`,
      'Change such tables with the pipeline in mind, or use another sink.',
      'warning',
    )
  }
  if (source.unchangedCells && !sink.supportsPartialRows) {
    report(
      'partial-rows',
      `the source may leave unchanged cells out of updates, and sink "${name}" cannot keep the stored value`,
      'Make the source log complete rows (its README says how), or use another sink.',
    )
  }
  if (source.updates && !sink.supportsUpsert) {
    report('updates', `the source sends updates, and sink "${name}" cannot apply them`, 'Use another sink.')
  }
  if (source.deletes && !sink.supportsDelete) {
    report('deletes', `the source sends deletes, and sink "${name}" cannot apply them`, 'Use another sink.')
  }
  return problems
}

function composition(definition: PipelineDefinition): readonly Problem[] {
  const names = definition.sinks.map((sink) => sink.name)
  const twice = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))]
  const problems = twice.map((name): Problem => {
    const message = `two sinks are called "${name}"`
    return {
      severity: 'error',
      code: 'pipeline/sink-name',
      message,
      fix: 'Give each sink a name of its own.',
    }
  })
  if (names.length > 0) return problems
  return [
    { severity: 'error', code: 'pipeline/no-sink', message: 'the pipeline has no sink', fix: 'Add one.' },
  ]
}

function ask(
  connector: Source | Sink,
  validate: () => Promise<readonly Problem[]>,
): Effect.Effect<Result.Result<readonly Problem[], CoreError>> {
  // What could not be asked has said so already.
  const leave = release(connector, () => {})
  return Effect.result(Effect.ensuring(call(validate), leave))
}

function toProblem(error: CoreError): Problem {
  return { severity: 'error', code: error.code, message: error.message, fix: error.fix ?? 'See the log.' }
}
