import { buildPipeline } from '../runtime/config/build.ts'
import { loadConfig } from '../runtime/config/load.ts'
import { createLogger, type LogOptions } from '../runtime/config/log.ts'
import { runPipeline } from '../runtime/pipeline.ts'
import { exitCodes } from '../runtime/policy.ts'
import type { PipelinePhase, PipelineStatus } from '../runtime/telemetry.ts'
import { Rates, statusFields, statusLine, summary } from './progress.ts'
import { stopSignal } from './signals.ts'
import type { Terminal } from './terminal.ts'

export interface RunArguments {
  readonly config: string
  readonly json: boolean
  readonly once: boolean
  readonly logLevel: string | null
}

const LOG_EVERY_MS = 10_000

/** Runs the pipeline of a config file until it is stopped, or has caught up with `--once`. */
export async function run(args: RunArguments, terminal: Terminal): Promise<number> {
  const config = await loadConfig(args.config)
  const level = (args.logLevel ?? config.log.level) as LogOptions['level']
  const log = createLogger({ ...config.log, level }, (line) => terminal.note(line))
  const signal = stopSignal(() => log.info('stopping: writing what was read; a second signal ends at once'))
  const definition = await buildPipeline(config)
  const rates = new Rates()
  let loggedAtMs = performance.now()
  let phase: PipelinePhase | null = null
  const onStatus = (status: PipelineStatus): void => {
    const nowMs = performance.now()
    const isNewPhase = status.phase !== phase
    phase = status.phase
    if (!isNewPhase) rates.update(status, nowMs)
    if (args.json) terminal.print(JSON.stringify({ event: 'status', ...status }))
    else terminal.status(statusLine(status, rates))
    if (terminal.isLive || args.json || nowMs - loggedAtMs < LOG_EVERY_MS) return
    loggedAtMs = nowMs
    log.info('status', statusFields(status, rates))
  }
  try {
    const result = await runPipeline(definition, { signal, log, onStatus, stopWhenCaughtUp: args.once })
    terminal.status('')
    const ending = result.reason === 'caught-up' ? 'caught up' : 'stopped'
    if (args.json) terminal.print(JSON.stringify({ event: 'end', ...result }))
    else terminal.print(`${ending}: ${summary(result.status)}`)
    return exitCodes.ok
  } finally {
    terminal.status('')
    await definition.store.close()
  }
}
