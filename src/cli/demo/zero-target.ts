/** A zero-cache and a Zero client as the target of the demo. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'

import { CoreError } from '../../core/error.ts'
import type { TableVerdict } from './compare.ts'
import { count, time } from './display.ts'
import { shopTables } from './schema.ts'
import { lastingPort } from './servers/server-process.ts'
import { requireZero, startZeroCache, type ZeroCacheServer } from './servers/zero-cache.ts'
import type { Arrival, Scene, ServerLine, Target } from './target.ts'
import { ShopClient } from './zero-client.ts'
import { readZeroTables } from './zero-columns.ts'
import { compareWithClient } from './zero-compare.ts'

/** Its own, beside the source database. */
const DATABASE = 'zero'
const LOOK_EVERY_MS = 20
const AGAIN_AFTER_MS = 250

export class ZeroTarget implements Target, AsyncDisposable {
  readonly name = 'a Zero client'
  // zero-cache stores each transaction in Postgres, and several programs share the machine.
  readonly pace = { transactionsPerSecond: 25, bigRows: 200 }
  readonly #folder: string
  readonly #port: number
  #scene: Scene | null = null
  #cache: ZeroCacheServer | null = null
  #client: ShopClient | null = null
  #beginning: Promise<void> | null = null
  #renewing: Promise<void> | null = null
  #isEnding = false

  private constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
  }

  static async start(folder: string): Promise<ZeroTarget> {
    await requireZero()
    return new ZeroTarget(folder, await lastingPort())
  }

  get servers(): readonly ServerLine[] {
    const cache = this.#cache
    if (cache === null) return []
    return [{ name: 'zero-cache', version: cache.version, port: cache.port, pid: cache.pid }]
  }

  sinkConfig(): string {
    return `  zero:
    type: zero
    port: ${this.#port}
    path: ${JSON.stringify(join(this.#folder, 'changes.db'))}
    # For trying things out: any client may read everything.
    permissions: allow-all-select
`
  }

  watch(scene: Scene): Promise<void> {
    this.#scene = scene
    this.#beginning = this.#begin(scene)
    return this.#beginning
  }

  columnAdded(): void {
    const renewing = this.#renew()
    this.#renewing = renewing
    renewing.catch((error: unknown) => this.#scene!.onFailure(error))
  }

  async settled(): Promise<void> {
    await this.#renewing
  }

  async newestMark(): Promise<number> {
    const client = this.#client
    if (client?.refusal) throw client.refusal
    return (client?.rows('pulse').at(-1)?.['id'] as number | undefined) ?? 0
  }

  arrivals(): Promise<readonly Arrival[]> | null {
    return this.#client === null ? null : this.#countAll(this.#client)
  }

  async compare(source: pg.Client, table: string, signal: AbortSignal): Promise<TableVerdict> {
    const client = this.#client!
    const known = client.tables.find(({ name }) => name === table)!
    return compareWithClient(source, known, client.rows(table), signal)
  }

  places(): readonly (readonly [string, string])[] {
    return [
      ['zero-cache', this.#cache?.url ?? ''],
      ['its source', `ws://127.0.0.1:${this.#port}/changes/v0/stream`],
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true
    await this.#beginning?.catch(() => {})
    await this.#renewing?.catch(() => {})
    await this.#client?.[Symbol.asyncDispose]()
    await this.#cache?.stop()
  }

  async #begin(scene: Scene): Promise<void> {
    await scene.source.query(`CREATE DATABASE ${DATABASE}`)
    scene.say('Starting a zero-cache, which takes all rows from there, and a Zero client:')
    const beganAt = performance.now()
    const cache = await startZeroCache({
      dir: join(this.#folder, 'zero'),
      upstream: `ws://127.0.0.1:${this.#port}/changes/v0/stream`,
      database: scene.postgres.url.replace(/[^/]*$/, DATABASE),
      signal: scene.signal,
    })
    this.#cache = cache
    void cache.exited.then(() => {
      if (!this.#isEnding) scene.onFailure(this.#cacheEnded(cache))
    })
    scene.say(`zero-cache (pid ${cache.pid}) has all rows, after ${time(performance.now() - beganAt)}.`)
    await this.#renew()
  }

  /** Opens a client that knows the tables as they are now; it takes the place of the one before when it has all rows. */
  async #renew(): Promise<void> {
    const { source, signal, say } = this.#scene!
    const beganAt = performance.now()
    for (;;) {
      const client = await ShopClient.open(this.#cache!.url, await readZeroTables(source, shopTables))
      const isOver = (): boolean => signal.aborted || this.#isEnding
      while (!client.isComplete && client.refusal === null && !isOver()) await delay(LOOK_EVERY_MS)
      if (client.isComplete && !isOver()) {
        const before = this.#client
        this.#client = client
        await before?.[Symbol.asyncDispose]()
        const rows = shopTables.reduce((sum, table) => sum + client.rows(table).length, 0)
        const which =
          before === null ? 'The Zero client has' : 'A new Zero client, which knows the new column, has'
        say(`${which} all of them too: ${count(rows)} rows, after ${time(performance.now() - beganAt)}.`)
        return
      }
      await client[Symbol.asyncDispose]()
      if (isOver()) return
      // A new column is in the source a moment before zero-cache knows it.
      if (this.#client === null) throw client.refusal!
      await delay(AGAIN_AFTER_MS)
    }
  }

  async #countAll(client: ShopClient): Promise<readonly Arrival[]> {
    const { source } = this.#scene!
    const counts = shopTables.map((table) => `(SELECT count(*) FROM ${table})::int`)
    const { rows } = await source.query<number[]>({ text: `SELECT ${counts.join(', ')}`, rowMode: 'array' })
    const now = performance.now()
    return shopTables.map((table, at) => {
      const { updates, at: changedAt } = client.changes(table)
      return {
        table,
        source: rows[0]![at]!,
        target: client.rows(table).length,
        updates,
        changedMs: changedAt === null ? null : now - changedAt,
      }
    })
  }

  #cacheEnded(cache: ZeroCacheServer): CoreError {
    const message = `zero-cache has ended. Its last words:\n${cache.lastWords()}`
    return new CoreError('demo/zero-cache-ended', message, { fix: 'Please report this with what it said.' })
  }
}
