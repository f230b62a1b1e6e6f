import { buildPipeline } from '../runtime/config/build.ts'
import type { LoadedConfig } from '../runtime/config/load.ts'
import { createLogger, type LogOptions } from '../runtime/config/log.ts'
import { ReloadRequests } from '../runtime/mapping/reload-requests.ts'
import { runPipeline } from '../runtime/pipeline.ts'
import { exitCodes } from '../runtime/policy.ts'
import type { PipelinePhase, PipelineStatus } from '../runtime/telemetry.ts'
import { Rates, statusFields, statusLine, summary } from './progress.ts'
import { onReload, stopSignal } from './signals.ts'
import type { Terminal } from './terminal.ts'

export interface RunArguments {
  /** Throws `ConfigError`. */
  load(): Promise<LoadedConfig>
  readonly json: boolean
  readonly once: boolean
  readonly logLevel: string | null
}

const LOG_EVERY_MS = 10_000

/** Runs the pipeline of a config until it is stopped, or has caught up with `--once`. */
export async function run(args: RunArguments, terminal: Terminal): Promise<number> {
  const config = await args.load()
  const level = (args.logLevel ?? config.log.level) as LogOptions['level']
  const log = createLogger({ ...config.log, level }, (line) => terminal.note(line))
  const signal = stopSignal(() => log.info('stopping: writing what was read; a second signal ends at once'))
  const definition = await buildPipeline(config, { reload: args.load, signal, log })
  const reload = new ReloadRequests()
  if (definition.mapping !== undefined) {
    onReload(() => {
      log.info('the mapping is read again')
      reload.request()
    })
  }
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
    const result = await runPipeline(definition, {
      signal,
      log,
      reload,
      onStatus,
      stopWhenCaughtUp: args.once,
    })
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
