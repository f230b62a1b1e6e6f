/** Lets time pass, and shows meanwhile what happens. */
import { setTimeout as delay } from 'node:timers/promises'

import type { Course } from './course.ts'
import type { Display } from './display.ts'
import type { LagProbe } from './lag.ts'
import type { Load } from './load.ts'
import type { Replicator } from './replicator.ts'
import type { Arrival, Target } from './target.ts'

export interface Watched {
  readonly display: Display
  readonly course: Course
  readonly replicator: Replicator
  readonly load: Load
  readonly probe: LagProbe
  readonly target: Target
}

interface Sample {
  readonly atMs: number
  readonly committed: number
  readonly replicated: number
}

const LOOK_EVERY_MS = 50
const SHOW_EVERY_MS = 500
/** Rates are over this time: the status of the replicating process comes once a second. */
const RATE_MS = 2_000

export class Watch {
  readonly #watched: Watched
  readonly #startMs = performance.now()
  #samples: Sample[] = []
  #shownMs = this.#startMs
  #arrivals: readonly Arrival[] | null = null
  #isCounting = false

  constructor(watched: Watched) {
    this.#watched = watched
    this.#samples.push({ atMs: this.#startMs, committed: 0, replicated: 0 })
  }

  async for(ms: number): Promise<void> {
    const endMs = performance.now() + ms
    await this.until(() => performance.now() >= endMs)
  }

  /** Until it is done. */
  async during<Value>(work: Promise<Value>): Promise<Value> {
    let isDone = false
    const done = work.finally(() => (isDone = true))
    done.catch(() => {})
    await this.until(() => isDone)
    return done
  }

  /** Until it is true, or until the demo ends: then it throws why. */
  async until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
    const { course } = this.#watched
    while (!(await course.unlessEnded(Promise.resolve(isTrue())))) {
      this.#show()
      await course.unlessEnded(delay(LOOK_EVERY_MS))
    }
  }

  #show(): void {
    const { display, replicator, load, probe } = this.#watched
    const atMs = performance.now()
    if (atMs - this.#shownMs < SHOW_EVERY_MS) return
    this.#shownMs = atMs
    this.#samples.push({ atMs, committed: load.changes, replicated: replicator.changes })
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - RATE_MS) this.#samples.shift()
    this.#count()
    const { status } = replicator
    display.live({
      seconds: (atMs - this.#startMs) / 1000,
      phase: status?.phase ?? (replicator.isRunning ? 'starting' : 'not replicating'),
      copy: replicator.isStreaming ? null : (status?.copy ?? null),
      committedPerSecond: this.#rate((sample) => sample.committed),
      replicatedPerSecond: this.#rate((sample) => sample.replicated),
      lagMs: probe.nowMs,
      arrivals: this.#arrivals,
    })
  }

  /** One after the other, and shown the next time. */
  #count(): void {
    const { target, course } = this.#watched
    if (this.#isCounting) return
    const arrivals = target.arrivals()
    if (arrivals === null) return
    this.#isCounting = true
    arrivals
      .then((counted) => (this.#arrivals = counted), course.fail)
      .finally(() => (this.#isCounting = false))
  }

  #rate(of: (sample: Sample) => number): number {
    const first = this.#samples[0]!
    const last = this.#samples.at(-1)!
    return last === first ? 0 : Math.max(0, ((of(last) - of(first)) * 1000) / (last.atMs - first.atMs))
  }
}
