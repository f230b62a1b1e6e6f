import * as Effect from 'effect/Effect'
import * as Result from 'effect/Result'
import type { ConnectorContext } from '../core/context.ts'
import { type CoreError, PreconditionError, type Problem } from '../core/error.ts'
import type { Sink, SinkCapabilities } from '../core/sink.ts'
import type { Source, SourceCapabilities } from '../core/source.ts'
import type { TableSchema } from '../core/table.ts'
import type { PipelineDefinition } from './definition.ts'
import { acquire, call, release } from './lift.ts'
import { createSource, mappingProblems, plainContext, sourceContext } from './mapping/pipeline-source.ts'

export interface Checked {
  readonly problems: readonly Problem[]
  /** The selected tables as the source has them; null when they were not asked for, or there is an error before. */
  readonly tables: readonly TableSchema[] | null
}

/**
 * Everything that stands in the way of a start, from source, sinks and their combination, at once; and when nothing
 * does, what the sinks say about the tables (law L13). Uses instances of its own and changes nothing. The source is
 * connected when a sink wants to see the tables, or with `tables`. Fails when a side could not even be asked and nothing
 * else is wrong.
 */
export function check(
  definition: PipelineDefinition,
  context: ConnectorContext,
  options: { readonly tables: boolean } = { tables: false },
): Effect.Effect<Checked, CoreError> {
  return Effect.gen(function* () {
    const source = yield* call(() => createSource(definition))
    const sinks = sinksOf(definition)
    const found = yield* collect(
      [
        ask(source, () => validateSource(definition, source, context)),
        ...sinks.map(({ sink }) => ask(sink, () => sink.validate(context))),
      ],
      (answers) => [
        ...composition(definition),
        ...answers,
        ...sinks.flatMap(({ name, sink }) => reconcile(source.capabilities(), name, sink.capabilities())),
      ],
    )
    if (!(options.tables || looksAtTables(definition)) || found.some(isError))
      return { problems: found, tables: null }
    return yield* checkTables(definition, context, found)
  })
}

/**
 * The part of it that a changed mapping changes: the sources' tables, and what the sinks say about them. Sinks that run
 * are not asked for anything else.
 */
export function checkSource(
  definition: PipelineDefinition,
  context: ConnectorContext,
): Effect.Effect<Checked, CoreError> {
  return Effect.gen(function* () {
    const source = yield* call(() => createSource(definition))
    const problems = yield* collect(
      [ask(source, () => validateSource(definition, source, context))],
      (answers) => answers,
    )
    if (problems.some(isError) || !looksAtTables(definition)) return { problems, tables: null }
    return yield* checkTables(definition, context, problems)
  })
}

function validateSource(
  definition: PipelineDefinition,
  source: Source,
  context: ConnectorContext,
): Promise<readonly Problem[]> {
  if (source.capabilities().needsMapping !== true) return source.validate(plainContext(definition, context))
  return validateDocuments(definition, source, context)
}

/** What keeps the source from having the mapping that it needs comes first. */
async function validateDocuments(
  definition: PipelineDefinition,
  source: Source,
  context: ConnectorContext,
): Promise<readonly Problem[]> {
  const unmapped = await mappingProblems(definition, source)
  if (unmapped.length > 0) return unmapped
  return await source.validate(await sourceContext(definition, source, context))
}

function looksAtTables(definition: PipelineDefinition): boolean {
  return sinksOf(definition).some(({ sink }) => sink.checkTables !== undefined)
}

function checkTables(
  definition: PipelineDefinition,
  context: ConnectorContext,
  found: readonly Problem[],
): Effect.Effect<Checked, CoreError> {
  return Effect.gen(function* () {
    const tables = yield* discover(definition, context)
    const problems = yield* collect(
      sinksOf(definition).map(({ sink }) =>
        ask(sink, async () => (await sink.checkTables?.(tables, context)) ?? []),
      ),
      (answers) => [...found, ...answers],
    )
    return { problems, tables }
  })
}

/** The answers of all that were asked, and what is known otherwise. */
function collect(
  asked: readonly Effect.Effect<Result.Result<readonly Problem[], CoreError>>[],
  complete: (answers: readonly Problem[]) => readonly Problem[],
): Effect.Effect<readonly Problem[], CoreError> {
  return Effect.gen(function* () {
    const answers = yield* Effect.all(asked, { concurrency: 'unbounded' })
    const failures: CoreError[] = []
    const problems = complete(
      answers.flatMap((answer) => {
        if (Result.isSuccess(answer)) return answer.success
        failures.push(answer.failure)
        return []
      }),
    )
    const [first] = failures
    if (first === undefined) return problems
    const wrong = problems.some(isError)
    if (!wrong && (failures.length === 1 || failures.every((failure) => failure.retryable)))
      return yield* Effect.fail(first)
    return [...problems, ...failures.map(toProblem)]
  })
}

/** The tables, over a connection of its own. */
function discover(
  definition: PipelineDefinition,
  context: ConnectorContext,
): Effect.Effect<readonly TableSchema[], CoreError> {
  return Effect.scoped(
    Effect.gen(function* () {
      const source = yield* call(() => createSource(definition))
      yield* acquire(
        source,
        async (it) => it.connect(await sourceContext(definition, source, context)),
        () => {},
      )
      return yield* call(() => source.discover())
    }),
  )
}

function sinksOf(definition: PipelineDefinition): readonly { readonly name: string; readonly sink: Sink }[] {
  return definition.sinks.map((sink) => ({ name: sink.name, sink: sink.create() }))
}

function isError({ severity }: Problem): boolean {
  return severity === 'error'
}

/** Fails with the complete list when there is an error in it. */
export function refuse(problems: readonly Problem[]): Effect.Effect<void, PreconditionError> {
  const errors = problems.filter(isError)
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
    // A table that a sink keeps does no harm.
    (kind) => kind !== 'truncate' && kind !== 'drop-table' && !sink.schemaChanges.includes(kind),
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
