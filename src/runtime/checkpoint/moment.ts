import { readFileSync } from 'node:fs'

/**
 * What time it is, told in two ways. The time of day can be set by anybody; the time since the machine was started
 * cannot, and counts between those who know that they mean the same start.
 */
export interface Moment {
  /** Milliseconds since 1970 UTC. */
  readonly ofDayMs: number
  /** Milliseconds since the start of the machine, the same in all its processes and containers. */
  readonly sinceBootMs: number
  /** Names that start; null where the system does not. */
  readonly boot: string | null
}

/** Now, on the clocks of this machine. */
export function thisMoment(): Moment {
  return { ofDayMs: Date.now(), sinceBootMs: Number(process.hrtime.bigint()) / 1e6, boot: bootId() }
}

export function after(moment: Moment, ms: number): Moment {
  return { ...moment, ofDayMs: moment.ofDayMs + ms, sinceBootMs: moment.sinceBootMs + ms }
}

/** Milliseconds until `later`; negative when it is past. */
export function untilMoment(later: Moment, now: Moment): number {
  if (now.boot !== null && later.boot === now.boot) return later.sinceBootMs - now.sinceBootMs
  return later.ofDayMs - now.ofDayMs
}

/** Null where there is no /proc. */
export function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return null
  }
}
