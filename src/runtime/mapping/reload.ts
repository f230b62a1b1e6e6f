/** A changed mapping takes the place of the running one: looked at first, refused or applied between two attempts. */
import * as Effect from 'effect/Effect'
import type { CoreError } from '../../core/error.ts'
import { diffMapping, type StoredTable } from '../../core/mapping/diff.ts'
import { describeDiff } from '../../core/mapping/rows/row-changes.ts'
import { checkSource } from '../check.ts'
import type { PipelineDefinition } from '../definition.ts'
import { call } from '../lift.ts'
import type { Run } from '../run.ts'
import { MappedSource } from './mapped-source.ts'
import { compiledFor, createSource, sourceContext } from './pipeline-source.ts'
import type { PipelineMapping } from './pipeline-mapping.ts'
import type { ReloadRequests } from './reload-requests.ts'

interface Changes {
  /** Clauses. */
  readonly list: readonly string[]
  readonly breaking: readonly string[]
  /** Why the source cannot make the change; null when it can. */
  readonly obstacle: string | null
}

/** Does what is asked for, and looks by itself as often as the mapping says, for ever. */
export function reloading(run: Run, requests: ReloadRequests): Effect.Effect<never, CoreError> {
  const reloads = new Reloads(run)
  const round = Effect.gen(function* () {
    const everyMs = run.definition.mapping?.reload?.everyMs ?? null
    const asked = call((signal) => requests.next(signal))
    const due = everyMs === null ? Effect.never : Effect.as(Effect.sleep(everyMs), null)
    const request = yield* Effect.raceFirst(asked, due)
    yield* Effect.catch(reloads.reload(request), (error) =>
      Effect.sync(() =>
        run.log.error(`the mapping could not be read again, the running one goes on: ${error.message}`, {
          code: error.code,
          fix: error.fix,
        }),
      ),
    )
  })
  return Effect.forever(round)
}

class Reloads {
  readonly #run: Run
  /** What was refused last: looked at again when somebody asks. */
  #refused: PipelineMapping | null = null

  constructor(run: Run) {
    this.#run = run
  }

  /** `request` is null when nobody asked. */
  reload(request: { readonly mapping: PipelineMapping | null } | null): Effect.Effect<void, CoreError> {
    return Effect.gen({ self: this }, function* () {
      const { log } = this.#run
      const running = this.#run.definition.mapping
      if (running === undefined) {
        log.warn('there is no mapping that could be read again: the pipeline has none', {
          code: 'mapping/none',
        })
        return
      }
      const { reload } = running
      const loaded =
        request?.mapping ?? (reload === undefined ? null : yield* call((signal) => reload.load(signal)))
      const next = loaded ?? (request === null ? null : this.#refused)
      if (next === null) {
        if (request !== null) log.info('the mapping was read again and is as it was')
        return
      }
      yield* this.#consider(running, { ...(reload === undefined ? {} : { reload }), ...next })
    })
  }

  #consider(running: PipelineMapping, next: PipelineMapping): Effect.Effect<void, CoreError> {
    return Effect.gen({ self: this }, function* () {
      const run = this.#run
      const { log } = run
      this.#refused = next
      const definition: PipelineDefinition = { ...run.definition, mapping: next }
      const { problems } = yield* checkSource(definition, run.context(null))
      const errors = problems.filter(({ severity }) => severity === 'error')
      if (errors.length > 0) {
        log.error('the changed mapping is refused, the running one goes on', {
          code: 'mapping/refused-change',
        })
        for (const { message, code, fix } of errors) log.error(message, { code, fix })
        return
      }
      const { list, breaking, obstacle } = yield* changes(run, running, definition)
      if (breaking.length > 0 && next.breaking === 'refuse') {
        log.error(`the changed mapping is refused, the running one goes on: ${breaking.join('; ')}`, {
          code: 'mapping/breaking',
          fix: 'Set `mapping.breaking: apply` to make the change, or undo it.',
        })
        return
      }
      if (obstacle !== null) {
        log.error(`the changed mapping is refused, the running one goes on: ${obstacle}`, {
          code: 'mapping/needs-copy',
          fix: 'Run it as a pipeline of another name, which copies everything, or undo the change.',
        })
        return
      }
      this.#refused = null
      run.replaceMapping(next)
      if (list.length === 0) return
      for (const change of list) log.info(`the mapping was changed: ${change}`)
      run.endTurn()
    })
  }
}

function changes(
  run: Run,
  running: PipelineMapping,
  definition: PipelineDefinition,
): Effect.Effect<Changes, CoreError> {
  return call(async () => {
    const source = await createSource(definition)
    if (!(source instanceof MappedSource)) return await documentChanges(running, definition.mapping!)
    const context = await sourceContext(definition, source, run.context(null))
    const { list, breaking, copies } = await source.changesFrom(running, context)
    const obstacle =
      copies.length === 0 || source.copiesAgain
        ? null
        : `it needs a new copy of ${copies.join(', ')}, and a source of type "${source.type}" cannot copy a table again`
    return { list, breaking, obstacle }
  })
}

/** Of a source of documents, which makes the changes itself. */
async function documentChanges(running: PipelineMapping, next: PipelineMapping): Promise<Changes> {
  const before = (await compiledFor(running)).compiled?.tables ?? []
  const stored = before.map(({ table, fingerprint, columnFingerprints }): StoredTable => {
    return { schema: table, fingerprint, columnFingerprints }
  })
  const diff = diffMapping(stored, (await compiledFor(next)).compiled!)
  return { list: describeDiff(diff), breaking: diff.breaking, obstacle: null }
}
