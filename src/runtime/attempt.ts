import * as Effect from 'effect/Effect'
import type * as Scope from 'effect/Scope'
import { RecordBatch } from '../core/batch.ts'
import { ConfigError, type CoreError, InternalError } from '../core/error.ts'
import { earlier, type SourcePosition } from '../core/position.ts'
import type { Sink } from '../core/sink.ts'
import type { Source } from '../core/source.ts'
import type { Checkpoint, Lease } from './checkpoint/store.ts'
import type { PipelineDefinition } from './definition.ts'
import { Lane } from './lane.ts'
import { aborted, acquire, call } from './lift.ts'
import { mappingGone, readMapped } from './mapping/mapped-position.ts'
import { createSource, sourceContext } from './mapping/pipeline-source.ts'
import { Backoff } from './policy.ts'
import { Progress } from './progress.ts'
import { Pump } from './pump.ts'
import { ReplayFilter } from './replay-filter.ts'
import type { Run } from './run.ts'
import { Saver } from './saver.ts'

/** `drained`: all that was read is durable and saved. `cut`: the deadline came first. */
export type AttemptEnd = 'drained' | 'cut'

interface Opened {
  readonly source: Source
  readonly sinks: readonly {
    readonly name: string
    readonly sink: Sink
    readonly held: SourcePosition | null
  }[]
  /** Where the source begins; null for a first copy. */
  readonly start: SourcePosition | null
  readonly stored: SourcePosition | null
}

/** How long the last save may take after the lanes have ended, in milliseconds. */
const lastSaveMs = 2000

/**
 * One attempt: connect everything, stream until there is a failure or a stop, and close everything in reverse order.
 * Instances of connectors are never used twice.
 */
export function attempt(run: Run, lease: Lease): Effect.Effect<AttemptEnd, CoreError> {
  return Effect.scoped(
    Effect.gen(function* () {
      if (run.stop.requested) return 'drained'
      run.beginTurn()
      run.telemetry.restart()
      run.enter('starting')
      const opened = yield* Effect.raceFirst(open(run, lease), Effect.as(aborted(run.turn), null))
      if (opened === null) return 'drained'
      run.connected()
      return yield* stream(run, lease, opened)
    }),
  ).pipe(Effect.ensuring(Effect.sync(() => run.detach())))
}

function open(run: Run, lease: Lease): Effect.Effect<Opened, CoreError, Scope.Scope> {
  return Effect.gen(function* () {
    const { definition, log } = run
    const context = run.context(lease)
    const left = (what: string) => (error: CoreError | null) =>
      log.warn(`${what} did not disconnect: ${error === null ? 'it takes too long' : error.message}`)
    const stored = yield* call(() => definition.store.load(definition.name))
    yield* checkSourceType(definition.source.type, stored)
    const sinks = yield* Effect.forEach(
      definition.sinks,
      ({ name, create }) => {
        const sink = create()
        const connected = acquire(sink, (it) => it.connect(context), left(`sink "${name}"`))
        return Effect.map(connected, ({ position, replayFrom }) => ({
          name,
          sink,
          held: heldBy(name, sink, position, stored),
          replayFrom: replayFrom ?? Infinity,
        }))
      },
      { concurrency: 'unbounded' },
    )
    const start = sinks.map((sink) => sink.held).reduce(earlier)
    const source = yield* call(() => createSource(definition))
    yield* checkMapped(definition, source, start)
    const replayFrom = Math.min(...sinks.map((sink) => sink.replayFrom))
    const replay = start === null && replayFrom < Infinity ? { replayFrom } : {}
    if ('replayFrom' in replay) yield* checkReplays(source)
    yield* acquire(
      source,
      async (it) => it.connect({ ...(await sourceContext(definition, source, context)), ...replay }),
      left(`source ${definition.source.type}`),
    )
    const tables = yield* call(() => source.discover())
    log.info(start === null ? 'connected, first copy begins' : 'connected, resuming', {
      source: definition.source.type,
      tables: tables.length,
      from: start?.order ?? null,
    })
    if (run.stopWhenCaughtUp && run.head === null) run.head = yield* headOf(source)
    return { source, sinks, start, stored: stored?.position ?? null }
  })
}

/**
 * What a sink has. Its own position wins over the store, also when it has none any more (its target was emptied). A
 * sink that the checkpoint does not know has nothing: then everything is copied again, which is harmless for the others.
 */
function heldBy(
  name: string,
  sink: Sink,
  own: SourcePosition | null,
  stored: Checkpoint | null,
): SourcePosition | null {
  if (own !== null || sink.capabilities().replay === 'transactional-position') return own
  return stored !== null && stored.sinks.includes(name) ? stored.position : null
}

function checkSourceType(type: string, stored: Checkpoint | null): Effect.Effect<void, ConfigError> {
  if (stored === null || stored.source === type) return Effect.void
  const message = `the checkpoint of this pipeline belongs to a source of type "${stored.source}", not "${type}"`
  return Effect.fail(
    new ConfigError('checkpoint/other-source', message, { fix: 'Give the pipeline another name.' }),
  )
}

function checkMapped(
  { mapping }: PipelineDefinition,
  source: Source,
  start: SourcePosition | null,
): Effect.Effect<void, ConfigError> {
  const isMapped = mapping !== undefined && source.capabilities().needsMapping !== true
  if (start === null || isMapped || readMapped(start) === null) return Effect.void
  return Effect.fail(mappingGone())
}

function checkReplays(source: Source): Effect.Effect<void, ConfigError> {
  if (source.capabilities().replaysFrom === true) return Effect.void
  const message = `a source of type "${source.type}" cannot replay its log from a time that a sink asks for`
  return Effect.fail(
    new ConfigError('pipeline/no-replay-from', message, {
      fix: 'Use the source that the sink was fed by before, or let the sink begin anew.',
    }),
  )
}

function headOf(source: Source): Effect.Effect<SourcePosition, CoreError> {
  return Effect.flatMap(
    call(() => source.headPosition()),
    (head) => {
      if (head !== null) return Effect.succeed(head)
      const message = `a source of type "${source.type}" cannot say where its log ends, so there is no catching up with it`
      return Effect.fail(
        new ConfigError('pipeline/no-head', message, { fix: 'Run without stopping at the end.' }),
      )
    },
  )
}

function stream(run: Run, lease: Lease, opened: Opened): Effect.Effect<AttemptEnd, CoreError> {
  return Effect.gen(function* () {
    const { source, sinks, start } = opened
    const { limits, log } = run
    const progress = new Progress(
      // Also of a sink that is ahead: it may have to go back to what it had there.
      sinks.map(() => start),
      (position) => {
        run.telemetry.durable(position, run.now())
        run.backoff.reset()
        saver.wake()
      },
    )
    const saver = saverOf(run, lease, opened, progress)
    const lanes = lanesOf(run, opened, progress, saver)
    run.attach({ source, lanes, progress })
    run.enter(start === null ? 'copying' : 'streaming')
    // With a mapping, which may have changed, the source says so itself.
    const isThere = start !== null && run.head !== null && start.order >= run.head.order
    if (isThere && run.definition.mapping === undefined) run.stop.request('caught-up')

    const work = [reading(run, source, lanes, start), ...lanes.map((lane) => lane.run())]
    const deadline = Effect.andThen(aborted(run.turn), () => {
      run.enter('draining')
      return Effect.sleep(limits.shutdownDeadlineMs)
    })
    // Whichever ends first ends the others, and waits for them.
    const end = yield* Effect.raceAllFirst([
      Effect.as(Effect.all(work, { concurrency: 'unbounded', discard: true }), 'drained' as const),
      Effect.as(deadline, 'cut' as const),
      saver.loop(),
    ])
    const saved = yield* Effect.timeoutOption(saver.save(), lastSaveMs)
    if (saved._tag === 'Some') return end
    log.warn('the last checkpoint could not be saved in time; a restart replays a little more')
    return 'cut'
  })
}

function lanesOf(run: Run, { sinks, start }: Opened, progress: Progress, saver: Saver): readonly Lane[] {
  const { limits, log, random, telemetry } = run
  return sinks.map(
    ({ name, sink, held }, index) =>
      new Lane({
        name,
        sink,
        bufferBytes: limits.bufferBytes / sinks.length,
        filter: new ReplayFilter(held, start),
        backoff: new Backoff(() => limits.retryBudgetMs, random),
        log,
        now: run.steady,
        onDurable: (position) => progress.advance(index, position),
        rewind: (position) => {
          const heartbeat = { _tag: 'Heartbeat', position, timeMs: run.now() } as const
          return Effect.as(saver.rewind(position), RecordBatch.ofHeartbeat(heartbeat))
        },
        onFailure: (error) => telemetry.failed(error, run.now()),
      }),
  )
}

function saverOf(
  run: Run,
  lease: Lease,
  { source, sinks, start, stored }: Opened,
  progress: Progress,
): Saver {
  const { limits, log, random, telemetry } = run
  return new Saver({
    store: run.definition.store,
    lease,
    source,
    sinks: sinks.map((sink) => sink.name),
    progress,
    // A new copy has positions of its own, which need not be later than what is stored.
    saved: start === null ? null : stored,
    intervalMs: limits.checkpointIntervalMs,
    backoff: new Backoff(() => limits.retryBudgetMs, random),
    log,
    now: run.steady,
    onSaved: (position) => (telemetry.saved = position.order),
  })
}

/** The source at work: everything it reads goes to all lanes, until a stop is asked for. */
function reading(
  run: Run,
  source: Source,
  lanes: readonly Lane[],
  start: SourcePosition | null,
): Effect.Effect<void, CoreError> {
  const controller = new AbortController()
  const { turn } = run
  const observe = (batch: RecordBatch): void => {
    run.telemetry.read(batch)
    if (!turn.aborted && batch.schemaChange === null)
      run.enter(batch.origin === 'snapshot' || copies(source) ? 'copying' : 'streaming')
    if (run.head !== null && caughtUp(source, batch, run.head)) run.stop.request('caught-up')
  }
  const pump = new Pump(
    AbortSignal.any([turn, controller.signal]),
    lanes.map((lane) => lane.channel),
    observe,
  )
  // A source that waits for room would never see the abort.
  controller.signal.addEventListener('abort', () => pump.fail(), { once: true })
  return Effect.flatMap(
    call(() => source.stream(pump, start), controller),
    () => {
      pump.end()
      if (turn.aborted) return Effect.void
      const message = `a source of type "${source.type}" stopped reading without being asked to`
      return Effect.fail(
        new InternalError('pipeline/source-ended', message, { fix: 'Report this with the log.' }),
      )
    },
  )
}

/** The log is read as far as it went at the start, and no copy is under way. */
function caughtUp(source: Source, batch: RecordBatch, head: SourcePosition): boolean {
  if (batch.origin !== 'stream' || batch.position === null || batch.position.order < head.order) return false
  return !copies(source)
}

/** True while tables are being copied. */
function copies(source: Source): boolean {
  const copy = source.snapshotProgress?.() ?? null
  return copy !== null && copy.tablesDone < copy.tablesTotal
}
