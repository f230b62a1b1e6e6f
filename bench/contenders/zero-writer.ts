/**
 * The writer of `bench/zero.ts`, a thread of its own beside the client: transactions of one row, so many per second,
 * whatever becomes of them. Posts when each COMMIT had returned.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import pg from 'pg'
import { nowMs } from '../zero/clock.ts'

export interface WriterOptions {
  readonly url: string
  /** Written into every row, whose `id` count from 1 + phase * 1,000,000. */
  readonly phase: number
  readonly rate: number
  readonly transactions: number
}

export interface Written {
  /** Per transaction, milliseconds of the machine's clock. */
  readonly committedMs: Float64Array
  readonly seconds: number
}

/** Commits wait for the disk, together. */
const CONNECTIONS = 24
const { url, phase, rate, transactions } = workerData as WriterOptions
const committedMs = new Float64Array(transactions)
const clients = Array.from({ length: CONNECTIONS }, () => new pg.Client({ connectionString: url }))
await Promise.all(clients.map((client) => client.connect()))
const text = `INSERT INTO bench (id, phase, n, name, price, ok, at, note) VALUES ($1, $2, $3, $4, $5, true, now(), $6)`
const startedMs = nowMs()
let next = 0
await Promise.all(
  clients.map(async (client) => {
    for (let index = next++; index < transactions; index = next++) {
      const wait = startedMs + (index * 1000) / rate - nowMs()
      if (wait > 0) await delay(wait)
      const id = phase * 1_000_000 + index + 1
      const values = [
        id,
        phase,
        index,
        `customer ${id}`,
        (index % 1000) / 10,
        `note for the row number ${id}`,
      ]
      await client.query({ name: 'insert', text, values })
      committedMs[index] = nowMs()
    }
  }),
)
const seconds = (nowMs() - startedMs) / 1000
await Promise.all(clients.map((client) => client.end()))
parentPort!.postMessage({ committedMs, seconds } satisfies Written)
