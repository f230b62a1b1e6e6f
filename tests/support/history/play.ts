import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../../src/core/context.ts'
import type { PipelineDefinition, RunOptions } from '../../../src/runtime/definition.ts'
import { type Line, recordingLog } from '../memory-pipeline.ts'
import { waitFor } from '../wait-for.ts'
import type { History, ScriptedLife, ScriptedTransaction } from './history.ts'
import { differences, type Model, type State } from './model.ts'
import { TrialProcess } from './trial-process.ts'

/** A source, sinks and a pipeline between them, for one history. */
export interface Bench extends AsyncDisposable {
  readonly definition: PipelineDefinition
  /** So long without a call means that the pipeline has nothing to do. */
  readonly quietMs: number
  /**
   * How long after it has read everything a pipeline may take until the targets are equal: a source that looks at the
   * catalog now and then may see the last change of a schema late. 0: at once.
   */
  readonly afterthoughtMs: number
  run(definition: PipelineDefinition, options: RunOptions): Promise<unknown>
  /** Does the transaction on the source. */
  commit(transaction: ScriptedTransaction): Promise<void>
  /** The source as its own server shows it; the model says which columns to ask for. */
  source(model: Model): Promise<State>
  /** The targets by sink, as their own servers show them. */
  targets(model: Model): Promise<Readonly<Record<string, State>>>
}

/** No process takes that long to end, in milliseconds. */
const endDeadlineMs = 60_000

/** The last so many lines of the pipeline's log belong to what is wrong. */
const logLines = 40

/** Does what the history says, and gives what is wrong at the end: nothing, if the pipeline is right. */
export async function play(history: History, bench: Bench): Promise<readonly string[]> {
  const log = recordingLog()
  const found = await outcome(history, bench, log)
  if (found.length === 0) return found
  const lines = log.lines.filter(({ level }) => level !== 'debug').slice(-logLines)
  return [...found.slice(0, 10), '', ...lines.map(describeLine)]
}

async function outcome(history: History, bench: Bench, log: Logger): Promise<readonly string[]> {
  for (const transaction of history.before) await bench.commit(transaction)
  for (const life of history.lives) await live(life, bench, log)
  await ended(bench.run(bench.definition, { log, stopWhenCaughtUp: true }))
  const oracle = differences(history.model, await bench.source(history.model))
  // Nothing can be said about the pipeline when the model itself is wrong.
  if (oracle.length > 0) return oracle.map((line) => `the model is wrong about the source: ${line}`)
  const found = await wrong(history, bench)
  if (found.length === 0 || bench.afterthoughtMs === 0) return found
  const stop = new AbortController()
  const running = bench.run(bench.definition, { log, signal: stop.signal })
  running.catch(() => {})
  // A view may be missing or be replaced at this moment.
  const isRight = (): Promise<boolean> =>
    wrong(history, bench).then(
      (lines) => lines.length === 0,
      () => false,
    )
  await waitFor('the targets are equal', isRight, bench.afterthoughtMs).catch(() => {})
  stop.abort()
  await ended(running)
  return wrong(history, bench)
}

/** One process from its start to its end. Throws when it ends in a way that is no part of the history. */
async function live({ happenings, end }: ScriptedLife, bench: Bench, log: Logger): Promise<void> {
  const { quietMs } = bench
  const trial = new TrialProcess()
  const stop = new AbortController()
  let isOver = false
  log.info('start')
  const running = bench
    .run(trial.of(bench.definition), { log, signal: stop.signal })
    .catch((error: unknown) => {
      if (!TrialProcess.wasKilled(error)) throw error
      log.info('killed')
    })
    .finally(() => (isOver = true))
  // Whoever waits for the end hears of a failure.
  running.catch(() => {})
  const pass = (calls: number): Promise<void> => trial.pass(calls, quietMs, () => isOver)
  try {
    for (const happening of happenings) {
      await pass(happening.after)
      if ('trouble' in happening) trial.suffer(happening)
      else await bench.commit(happening)
    }
    await pass(end.after)
    if (end.end === 'killed') {
      trial.kill(end)
      await pass(1)
    }
  } finally {
    // One that is to be killed and makes no call dies in the first one of its stop.
    stop.abort()
    await ended(running)
  }
}

function describeLine({ level, message, code, table, change }: Line): string {
  return `log: ${level} ${[message, code, table, change].filter((part) => typeof part === 'string').join(' ')}`
}

async function ended(running: Promise<unknown>): Promise<void> {
  const timer = new AbortController()
  const late = delay(endDeadlineMs, undefined, timer).then(
    () => {
      throw new Error(`the pipeline did not end within ${endDeadlineMs} ms`)
    },
    () => {},
  )
  try {
    await Promise.race([running, late])
  } finally {
    timer.abort()
  }
}

async function wrong({ model, everMade }: History, bench: Bench): Promise<readonly string[]> {
  const targets = await bench.targets(model)
  return Object.entries(targets).flatMap(([sink, state]) =>
    [
      ...differences(model, state),
      // A dropped table stays; a table that was never committed must not appear.
      ...Object.keys(state).flatMap((table) => (everMade.has(table) ? [] : [`table ${table} never existed`])),
    ].map((line) => `sink ${sink}: ${line}`),
  )
}
