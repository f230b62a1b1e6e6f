/** Now and then: stores how far subscribers are, and removes entries of the log that nobody needs. */
import type { Logger } from '../../../core/context.ts'
import { CoreError } from '../../../core/error.ts'
import type { ChangeLog } from './change-log.ts'
import type { ZeroConfig } from './config.ts'
import type { Subscribers } from './subscribers.ts'

const INTERVAL_MS = 2000

export interface UpkeepOptions {
  readonly log: ChangeLog
  readonly subscribers: Subscribers
  readonly config: Pick<ZeroConfig, 'retain' | 'maxLogSize' | 'whenFull' | 'forgetAfter'>
  readonly logger: Logger
  readonly now: () => number
}

export class Upkeep {
  readonly #options: UpkeepOptions
  #timer: NodeJS.Timeout | null = null
  #running: Promise<void> | null = null
  #isFull = false

  constructor(options: UpkeepOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.run().finally(() => (this.#running = null))
    }, INTERVAL_MS)
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    await this.#running
    await this.#save().catch(() => {})
  }

  /** With `whenFull: stop` the pipeline ends rather than let a subscriber begin anew. */
  refuseWhenFull(): void {
    if (!this.#isFull) return
    throw new CoreError(
      'zero/log-full',
      'the change log is as large as it may be, and a subscriber still needs what is in it',
      {
        fix: 'Bring the subscriber back, raise `maxLogSize`, or set `whenFull: prune` to let it begin anew.',
      },
    )
  }

  /** One round. Failures are not its business: the next write finds them. */
  async run(): Promise<void> {
    try {
      await this.#save()
      for (let more = true; more;) more = await this.#step()
    } catch (error) {
      this.#options.logger.debug('the change log could not be tidied up', { reason: String(error) })
    }
  }

  async #save(): Promise<void> {
    const { log, subscribers, config, now } = this.#options
    for (const id of subscribers.forgetBefore(now() - config.forgetAfter))
      await log.request({ kind: 'subscriber', id, acked: null, seenMs: now(), tables: null })
    for (const { id, acked, seen, tables } of subscribers.takeChanged())
      await log.request({ kind: 'subscriber', id, acked, seenMs: seen, tables })
  }

  async #step(): Promise<boolean> {
    const { log, subscribers, config, logger, now } = this.#options
    const { retain, maxLogSize, whenFull } = config
    const request = {
      acked: subscribers.acked(log.head),
      keepSinceMs: now() - retain,
      maxBytes: maxLogSize,
      force: whenFull === 'prune',
    }
    const answer = await log.request({ kind: 'upkeep', request })
    if (answer.kind !== 'upkept') return false
    if (answer.lost) logger.warn('the change log is full: a subscriber that is away will have to begin anew')
    // The newest transaction alone may be larger than the log may be, and stays when everybody has it.
    const isHeld = request.acked < log.head
    this.#isFull = whenFull === 'stop' && isHeld && !answer.more && answer.bytes > maxLogSize
    return answer.more
  }
}
