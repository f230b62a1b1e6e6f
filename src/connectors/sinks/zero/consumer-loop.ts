import type { Logger } from '../../../core/context.ts'
import type { Consumer, Waits } from './gateway-consumer.ts'

export interface LoopOptions {
  readonly logger: Logger
  /** Who takes nothing for so long, although more waits for it, is disconnected. Milliseconds. */
  readonly stallTimeoutMs: number
  /** In this interval a consumer learns that the connection is open, and how far it is. Milliseconds. */
  readonly keepAliveMs: number
}

/** Close code: the consumer is too slow. It may go on after the last watermark that it got. */
const TOO_SLOW = {
  code: 4408,
  status: 503,
  message: null,
  reason: 'too slow: connect again with the last watermark',
} as const
const FAILED = { code: 1011, status: 500, message: null, reason: 'internal error' } as const
/** Everybody else gets a turn after so many milliseconds. */
const SLICE_MS = 5

/** Lets every consumer take its steps when there is something for it, in turn: none holds the others up. */
export class ConsumerLoop {
  readonly #options: LoopOptions
  readonly #waits = new Map<Consumer, Waits>()
  readonly #ready = new Set<Consumer>()
  #isScheduled = false
  #timer: NodeJS.Timeout | null = null
  #keptAliveAtMs = 0

  constructor(options: LoopOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#waits.size
  }

  add(consumer: Consumer): void {
    this.#waits.set(consumer, 'nothing')
    this.wake(consumer)
    if (this.#timer !== null) return
    const { stallTimeoutMs, keepAliveMs } = this.#options
    this.#keptAliveAtMs = performance.now()
    this.#timer = setInterval(() => this.#look(), Math.min(1000, stallTimeoutMs / 4, keepAliveMs / 4))
  }

  /** Its connection is closed. */
  remove(consumer: Consumer): void {
    consumer.end(null)
    this.#waits.delete(consumer)
    this.#ready.delete(consumer)
    if (this.#waits.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  wake(consumer: Consumer): void {
    if (!this.#waits.has(consumer)) return
    this.#ready.add(consumer)
    this.#schedule()
  }

  /** There is something new in the log. */
  published(): void {
    for (const [consumer, waits] of this.#waits) if (waits === 'published') this.#ready.add(consumer)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ready.size === 0) return
    this.#isScheduled = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    this.#isScheduled = false
    const until = performance.now() + SLICE_MS
    for (const consumer of this.#ready) {
      this.#ready.delete(consumer)
      const waits = this.#step(consumer)
      this.#waits.set(consumer, waits)
      // At the end of the line.
      if (waits === 'nothing') this.#ready.add(consumer)
      if (performance.now() > until) break
    }
    this.#schedule()
  }

  #step(consumer: Consumer): Waits {
    try {
      return consumer.step()
    } catch (error) {
      this.#options.logger.error('a consumer could not be served', {
        code: 'zero/subscriber',
        subscriber: consumer.name,
        reason: error instanceof Error ? error.message : 'unknown',
      })
      consumer.end(FAILED)
      return 'over'
    }
  }

  #look(): void {
    const { stallTimeoutMs, keepAliveMs, logger } = this.#options
    const now = performance.now()
    const due = now - this.#keptAliveAtMs >= keepAliveMs
    if (due) this.#keptAliveAtMs = now
    for (const [consumer, waits] of this.#waits) {
      if (waits === 'over') continue
      const since = consumer.output.fullSince
      if (since !== null && now - since > stallTimeoutMs) {
        logger.warn('a consumer is too slow and was disconnected', { subscriber: consumer.name })
        consumer.end(TOO_SLOW)
        this.#waits.set(consumer, 'over')
      } else if (due) consumer.keepAlive()
    }
  }
}
