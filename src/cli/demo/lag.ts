/** How long a commit in Postgres takes to be visible in the target, measured from outside. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'

export interface LagOptions {
  readonly postgres: string
  /** The largest id of the table `pulse` that is visible; 0 without any. */
  newestMark(): Promise<number>
  onFailure(error: unknown): void
}

interface Mark {
  readonly id: number
  readonly atMs: number
}

const MARK_EVERY_MS = 100
const LOOK_EVERY_MS = 10

/** Writes a row every 100 ms and looks for it on the other side. */
export class LagProbe {
  readonly #options: LagOptions
  readonly #samples: number[] = []
  #waiting: Mark[] = []
  #client: pg.Client | null = null
  #tasks: readonly Promise<void>[] = []
  #isStopping = false
  #last = 0
  #seen = 0

  constructor(options: LagOptions) {
    this.#options = options
  }

  /** The age of the oldest commit that is not visible yet, else the lag of the newest one that is. */
  get nowMs(): number | null {
    const oldest = this.#waiting[0]
    const newest = this.#samples.at(-1) ?? null
    if (oldest === undefined) return newest
    return Math.max(newest ?? 0, performance.now() - oldest.atMs)
  }

  /** Of all marks, in milliseconds; null without any. */
  percentiles(): { readonly p50: number; readonly p99: number } | null {
    const sorted = this.#samples.toSorted((a, b) => a - b)
    if (sorted.length === 0) return null
    const at = (share: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * share)]!)
    return { p50: at(0.5), p99: at(0.99) }
  }

  async start(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#options.postgres, application_name: 'demo lag' })
    client.on('error', () => {})
    this.#client = client
    await client.connect()
    this.#tasks = [this.#write(client), this.#look()]
    for (const task of this.#tasks) {
      task.catch((error: unknown) => {
        if (!this.#isStopping) this.#options.onFailure(error)
      })
    }
  }

  /** The id of a mark that is written after this call. */
  get nextMark(): number {
    return this.#last + 1
  }

  /** The newest mark that is visible. */
  get seenMark(): number {
    return this.#seen
  }

  /** No more marks. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.allSettled(this.#tasks)
    await this.#client?.end()
    this.#client = null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true
    await this.#client?.end()
  }

  async #write(client: pg.Client): Promise<void> {
    while (!this.#isStopping) {
      const mark = { id: ++this.#last, atMs: performance.now() }
      this.#waiting.push(mark)
      await client.query('INSERT INTO pulse VALUES ($1, clock_timestamp())', [mark.id])
      await delay(MARK_EVERY_MS)
    }
  }

  async #look(): Promise<void> {
    while (!this.#isStopping) {
      const seen = await this.#options.newestMark()
      this.#seen = seen
      const nowMs = performance.now()
      while (this.#waiting.length > 0 && this.#waiting[0]!.id <= seen) {
        this.#samples.push(nowMs - this.#waiting.shift()!.atMs)
      }
      await delay(LOOK_EVERY_MS)
    }
  }
}
