import type { LogFields, Logger } from '../../../core/context.ts'

/** Whoever is refused comes back, zero-cache 40 times a second: one line per reason in this time, in milliseconds. */
const QUIET_MS = 10_000

/** Says who was refused and why, without filling the log. */
export class RefusalLog {
  readonly #log: Logger
  readonly #now: () => number
  readonly #seen = new Map<string, { since: number; repeated: number }>()

  constructor(log: Logger, now: () => number) {
    this.#log = log
    this.#now = now
  }

  refused(reason: string, fields: LogFields): void {
    const now = this.#now()
    const seen = this.#seen.get(reason)
    if (seen !== undefined && now - seen.since < QUIET_MS && now >= seen.since) {
      seen.repeated++
      return
    }
    this.#seen.set(reason, { since: now, repeated: 0 })
    this.#log.warn(`a connection was refused: ${reason}`, { ...fields, repeated: seen?.repeated ?? 0 })
  }
}
