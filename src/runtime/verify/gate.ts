import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../core/context.ts'
import { ConfigError, CoreError } from '../../core/error.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { PipelineState } from '../checkpoint/store.ts'
import type { PipelineDefinition } from '../definition.ts'

const POLL_MS = 100

export interface GateOptions {
  readonly definition: PipelineDefinition
  /** Name of the sink that is compared. */
  readonly sink: string
  /** How long the pipeline may take to pass a position, in milliseconds. */
  readonly timeoutMs: number
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Waits until the running pipeline has passed a position, as its checkpoint store tells. */
export class Gate {
  readonly #options: GateOptions
  /** Whether somebody ran the pipeline when it was looked at last. */
  running = false
  #warned = false
  /** Nobody else can run the pipeline: we hold its lease. */
  #held = false

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** From now on the lease is ours. */
  hold(): void {
    this.#held = true
  }

  /** False when nobody runs the pipeline. */
  async isRunning(): Promise<boolean> {
    return (await this.#look()).runner !== null
  }

  /**
   * Resolves when everything up to the position is in the sink; at once, with a warning, when nobody runs the pipeline.
   * Throws `verify/behind` when the pipeline does not come that far in time.
   */
  async passed(position: SourcePosition): Promise<void> {
    const { timeoutMs, signal, definition } = this.#options
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const { checkpoint, runner } = await this.#look()
      if (runner === null) return
      const order = checkpoint?.position.order ?? null
      const knows = checkpoint?.sinks.includes(this.#options.sink) ?? false
      if (knows && order !== null && order >= position.order) return
      if (performance.now() >= deadline) throw behind(definition.name, timeoutMs, position.order, order)
      await delay(POLL_MS, undefined, { signal }).catch(() => {
        throw stopped()
      })
    }
  }

  async #look(): Promise<PipelineState> {
    const { definition, log } = this.#options
    if (this.#held) return { checkpoint: null, runner: null }
    const state = await definition.store.peek(definition.name)
    const { checkpoint, runner } = state
    if (checkpoint !== null && checkpoint.source !== definition.source.type) {
      const message = `the checkpoint of this pipeline belongs to a source of type "${checkpoint.source}", not "${definition.source.type}"`
      throw new ConfigError('checkpoint/other-source', message, { fix: 'Give the pipeline another name.' })
    }
    if (runner === null && !this.#warned) {
      this.#warned = true
      log.warn('nobody runs this pipeline: the sink is compared as it is, however far behind', {
        code: 'verify/not-running',
      })
    }
    this.running = runner !== null
    return state
  }
}

export function stopped(): CoreError {
  return new CoreError('verify/stopped', 'the comparison was stopped before its end', {
    fix: 'Start it again; nothing was changed.',
  })
}

function behind(name: string, timeoutMs: number, wanted: string, reached: string | null): CoreError {
  const where = reached === null ? 'has no position yet' : `is at ${reached}`
  const seconds = timeoutMs / 1000
  return new CoreError(
    'verify/behind',
    `pipeline "${name}" has not written everything up to position ${wanted} within ${seconds} s; it ${where}`,
    { fix: 'Look at its log and its lag; wait, or allow more time with --timeout.' },
  )
}
