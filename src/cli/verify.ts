import * as Schema from 'effect/Schema'
import { ConfigError } from '../core/error.ts'
import { duration } from '../core/fields.ts'
import { buildPipeline } from '../runtime/config/build.ts'
import { loadConfig } from '../runtime/config/load.ts'
import { createLogger } from '../runtime/config/log.ts'
import { exitCodes } from '../runtime/policy.ts'
import type { VerifyOptions } from '../runtime/verify/comparison.ts'
import { repairPipeline } from '../runtime/verify/repair.ts'
import type { VerifyProgress } from '../runtime/verify/report.ts'
import { verifyPipeline } from '../runtime/verify/verify.ts'
import { stopSignal } from './signals.ts'
import type { Terminal } from './terminal.ts'
import { progressLine, reportLines } from './verify-report.ts'

export interface VerifyArguments {
  readonly command: 'verify' | 'repair'
  readonly config: string
  readonly options: Readonly<Record<string, string | true>>
}

const STATUS_EVERY_MS = 100

/** Compares source and sink of a pipeline; `repair` also writes what differs. Exit code 4 when they are not equal. */
export async function verify(args: VerifyArguments, terminal: Terminal): Promise<number> {
  const { command } = args
  const options = optionsOf(args)
  const config = await loadConfig(args.config)
  const log = createLogger(config.log, (line) => terminal.note(line))
  const signal = stopSignal(() => log.info('stopping: a second signal ends at once'))
  const definition = await buildPipeline(config)
  if (config.checkpoint.store === 'memory')
    log.warn('the pipeline keeps its position in memory, so nobody else can see how far it is', {
      code: 'verify/not-running',
    })
  let shownAtMs = 0
  const startedAtMs = performance.now()
  const onProgress = (progress: VerifyProgress): void => {
    const nowMs = performance.now()
    if (nowMs - shownAtMs < STATUS_EVERY_MS) return
    shownAtMs = nowMs
    terminal.status(progressLine(progress, nowMs - startedAtMs))
  }
  try {
    const run = command === 'verify' ? verifyPipeline : repairPipeline
    const report = await run(definition, { ...options, log, signal, onProgress })
    terminal.status('')
    if (args.options['json'] === true) terminal.print(JSON.stringify(report))
    else for (const line of reportLines(report)) terminal.print(line)
    return report.equal ? exitCodes.ok : exitCodes.differs
  } finally {
    terminal.status('')
    await definition.store.close()
  }
}

function optionsOf({ command, options }: VerifyArguments): Omit<VerifyOptions, 'log'> {
  const text = (name: string): string | undefined => {
    const value = options[name]
    return typeof value === 'string' ? value : undefined
  }
  const tables = text('tables')
  const sink = text('sink')
  const sample = text('sample')
  const seed = text('seed')
  const timeout = text('timeout')
  if (seed !== undefined && sample === undefined) throw usage('--seed goes with --sample', command)
  return {
    ...(tables === undefined ? {} : { tables: tables.split(',').map((pattern) => pattern.trim()) }),
    ...(sink === undefined ? {} : { sink }),
    ...(sample === undefined
      ? {}
      : {
          sample: {
            fraction: fractionOf(sample, command),
            ...(seed === undefined ? {} : { seed: seedOf(seed, command) }),
          },
        }),
    ...(timeout === undefined ? {} : { timeoutMs: durationOf(timeout, command) }),
    showValues: options['show-values'] === true,
  }
}

function fractionOf(text: string, command: string): number {
  const [, digits, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text) ?? []
  const fraction = Number(digits) / (percent === '%' ? 100 : 1)
  if (fraction > 0 && fraction <= 1) return fraction
  throw usage('--sample must be a part of the whole, such as 5% or 0.05', command)
}

function seedOf(text: string, command: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32) return Number(text)
  throw usage('--seed must be a whole number below 2^32', command)
}

function durationOf(text: string, command: string): number {
  const decoded = Schema.decodeUnknownOption(duration({ min: '1s' }))(text)
  if (decoded._tag === 'Some') return decoded.value
  throw usage('--timeout must be a duration such as 30s or 5m, at least 1s', command)
}

function usage(message: string, command: string): ConfigError {
  return new ConfigError('cli/usage', message, { fix: `See sluice ${command} --help.` })
}
