/** Changes the shop without pause, on several connections. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'

import type { ShopSize } from './schema.ts'
import { addTierColumn, anyTransaction, bigTransaction, Shop } from './transactions.ts'

/** How much is changed. */
export interface LoadPace {
  /** Per connection: about 3 row changes each. */
  readonly transactionsPerSecond: number
  /** Rows of the transactions that change many. */
  readonly bigRows: number
}

export interface LoadOptions {
  readonly url: string
  readonly size: ShopSize
  readonly connections: number
  readonly pace: LoadPace
  /** Something failed that is no conflict between the connections. */
  onFailure(error: unknown): void
}

const BIG_EVERY_MS = 1_500
/** Shorter waits are added up: a timer is not exact. */
const SHORTEST_WAIT_MS = 5
/** Serialization failure, deadlock, lock timeout: transactions that lost to another one. */
const conflicts: readonly string[] = ['40001', '40P01', '55P03']

export class Load {
  readonly #options: LoadOptions
  readonly #shop: Shop
  readonly #clients: pg.Client[] = []
  #workers: readonly Promise<void>[] = []
  #isStopping = false
  /** Row changes and transactions that were committed. */
  changes = 0
  transactions = 0

  constructor(options: LoadOptions) {
    this.#options = options
    this.#shop = new Shop(options.size)
  }

  async start(): Promise<void> {
    const { connections, pace, onFailure } = this.#options
    for (let at = 0; at <= connections; at++) this.#clients.push(await connect(this.#options.url))
    const [big, ...small] = this.#clients
    let turn = 0
    this.#workers = [
      this.#repeat(big!, () => bigTransaction(this.#shop, turn++, pace.bigRows), BIG_EVERY_MS),
      ...small.map((client) =>
        this.#repeat(client, () => anyTransaction(this.#shop), 1000 / pace.transactionsPerSecond),
      ),
    ]
    for (const worker of this.#workers) worker.catch(onFailure)
  }

  /** Adds a column while the other connections go on. */
  async addColumn(): Promise<void> {
    const client = await connect(this.#options.url)
    try {
      await client.query(addTierColumn)
      this.#shop.hasTier = true
    } finally {
      await client.end()
    }
  }

  /** Lets every connection finish its transaction. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#workers)
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#clients.splice(0).map((client) => client.end()))
  }

  async #repeat(client: pg.Client, next: () => string, everyMs: number): Promise<void> {
    let dueMs = performance.now()
    while (!this.#isStopping) {
      await this.#transact(client, next())
      // What could not be done in time is not made up for.
      dueMs = Math.max(dueMs + everyMs, performance.now() - everyMs)
      const waitMs = dueMs - performance.now()
      if (waitMs >= SHORTEST_WAIT_MS) await delay(waitMs)
    }
  }

  async #transact(client: pg.Client, statements: string): Promise<void> {
    try {
      // One message for all of it: a round trip per statement would be most of the load.
      const results = await client.query(`BEGIN; ${statements}; COMMIT`)
      const changes = committedRows(results as unknown as readonly pg.QueryResult[])
      this.changes += changes
      if (changes > 0) this.transactions++
    } catch (error) {
      if (this.#isStopping && this.#clients.length === 0) return
      if (!isConflict(error)) throw error
      await client.query('ROLLBACK')
    }
  }
}

/** Rows that the statements of one transaction changed, without what was rolled back. */
function committedRows(results: readonly pg.QueryResult[]): number {
  let rows = 0
  let saved = 0
  for (const { command, rowCount } of results) {
    if (command === 'SAVEPOINT') saved = rows
    else if (command === 'ROLLBACK') rows = saved
    else rows += rowCount ?? 0
  }
  return rows
}

function isConflict(error: unknown): boolean {
  return error instanceof pg.DatabaseError && conflicts.includes(error.code ?? '')
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'demo load' })
  // The next query reports a lost connection.
  client.on('error', () => {})
  await client.connect()
  await client.query(`SET deadlock_timeout = '100ms'`)
  return client
}
