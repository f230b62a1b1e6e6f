/** Laws about memory: what nobody takes stays on the server (law L10). */
import assert from 'node:assert/strict'
import { setImmediate, setTimeout as delay } from 'node:timers/promises'
import type { RecordBatch } from '../../core/batch.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import { Journal } from './journal.ts'
import { inserts, largeInserts } from './rows.ts'
import type { SourceRun } from './run.ts'
import { sourceLaw, type Trial } from './trial.ts'

const MiB = 1024 * 1024
/** Largest batch, whatever the size of the transaction. A pipeline's budget is many times this. */
const LARGEST_BATCH = 4 * MiB
/** What may be handed over although `write` does not come back: a batch for each connection that copies. */
const MOST_HELD = 8 * MiB
const MOST_COPY_WRITES_HELD = 32
/** A heartbeat and the rows that come after it, and as much again for sources that do it in another way. */
const MOST_STREAM_WRITES_HELD = 4
/** What may have left the server although `write` does not come back: the above, and what the kernels of both sides keep. */
const MOST_READ = 20 * MiB
const ROW_BYTES = 64 * 1024
/** Nothing more comes when so few bytes have come for so long: a source may look at the catalog meanwhile. */
const STILL_MS = 300
const STILL_BYTES = 512 * 1024

const largeTransaction = sourceLaw({
  id: 'large-transaction',
  title: 'cuts a transaction that is larger than the budget into batches, and resumes before it or after it',
  timeoutMs: 120_000,
  async check(trial) {
    const rows = 256
    await trial.create('a')
    await trial.apply(...inserts(trial.random, 'a', 1, 4))
    const journal = new Journal()
    const restarts = trial.capabilities.replay === 'log'
    let held = false
    let run = await trial.run(journal, {
      onWrite: ({ endsInTransaction }, self) => {
        if (restarts && endsInTransaction && !held) {
          held = true
          self.hold()
        }
        return setImmediate()
      },
    })
    await run.settled()
    await trial.apply(...largeInserts(trial.random, 'a', 1000, rows, ROW_BYTES))
    if (restarts) {
      // In the middle of it.
      await run.until('the transaction has begun', () => journal.streamedRows().length > 0)
      await run.stopHeld()
      run = await trial.run(journal, { onWrite: () => setImmediate() })
    }
    await run.settled()
    await run.stop()
    await trial.equal(journal)
    const largest = Math.max(...journal.batches.map(({ byteSize }) => byteSize))
    assert.ok(largest <= LARGEST_BATCH, `a batch has ${largest} bytes, a transaction is not cut`)
    if (!trial.capabilities.transactions) return
    const large = journal.entries.findIndex(
      (entry) => entry.kind === 'insert' && entry.after?.['id'] === '1000',
    )
    const begin = journal.entries.findLastIndex((entry, at) => entry.kind === 'begin' && at < large)
    const commit = journal.entries.findIndex((entry, at) => entry.kind === 'commit' && at > large)
    assert.equal(commit - begin - 1, rows, 'the transaction does not arrive as one')
  },
})

const unreadStream = sourceLaw({
  id: 'unread-stream-is-bounded',
  title: 'hands over a bounded number of bytes when its stream is not read, and lives on',
  timeoutMs: 120_000,
  async check(trial) {
    await trial.create('a')
    const run = await trial.run()
    await run.settled()
    run.hold()
    const { bytes, writes } = run
    // What says only that the log moves must not pile up either.
    for (let times = 0; times < 150; times++) await trial.bench.unrelated?.()
    await backlog(trial, 8)
    await isStill(run, () => run.bytes)
    // The log and the clock go on.
    for (let times = 0; times < 20; times++)
      await trial.apply(...inserts(trial.random, 'a', 100_000 + times, 100_001 + times))
    await isStill(run, () => run.bytes)
    isBounded(run.bytes - bytes, run.writes - writes, MOST_STREAM_WRITES_HELD)
    assert.ok(!run.ended, 'the stream has ended')
    run.release()
    await run.settled()
    await run.stop()
    await trial.equal(run.journal)
  },
})

const unreadCopy = sourceLaw({
  id: 'unread-copy-is-bounded',
  title: 'hands over a bounded number of bytes when its copy is not read, and lives on',
  applies: ({ snapshot }) => snapshot,
  timeoutMs: 120_000,
  async check(trial) {
    await trial.create('a', 'b', 'c')
    await backlog(trial, 8)
    // Not the announcements: rows shall be under way.
    const onWrite = ({ rowCount }: RecordBatch, self: SourceRun): void => {
      if (rowCount === 0 || held) return
      held = true
      before = self.writes
      self.hold()
    }
    let held = false
    let before = 0
    const run = await trial.run(new Journal(), { onWrite })
    await run.until('it copies rows', () => held)
    await isStill(run, () => run.bytes)
    for (let times = 0; times < 20; times++)
      await trial.apply(...inserts(trial.random, 'b', 100_000 + times, 100_001 + times))
    await isStill(run, () => run.bytes)
    isBounded(run.bytes, run.writes - before, MOST_COPY_WRITES_HELD)
    assert.ok(!run.ended, 'the stream has ended')
    run.release()
    await run.settled()
    await run.stop()
    await trial.equal(run.journal)
  },
})

const unreadServer = sourceLaw({
  id: 'unread-rows-stay-on-the-server',
  title: 'reads a bounded number of bytes from the server when its stream is not read',
  timeoutMs: 120_000,
  async check(trial) {
    const proxy = await TcpProxy.start(trial.means('address'))
    await using _ = proxy
    await trial.create('a')
    const run = await trial.run(new Journal(), {
      source: { through: { host: '127.0.0.1', port: proxy.port } },
    })
    await run.settled()
    run.hold()
    const before = proxy.bytes.toClient
    await backlog(trial, 12)
    await isStill(run, () => proxy.bytes.toClient)
    const read = proxy.bytes.toClient - before
    assert.ok(read <= MOST_READ, `${read} bytes were read from the server although nobody took a batch`)
    run.release()
    await run.settled()
    await run.stop()
    await trial.equal(run.journal)
  },
})

/** Transactions of 4 MiB. */
async function backlog(trial: Trial, transactions: number): Promise<void> {
  const rows = (4 * MiB) / ROW_BYTES
  for (let index = 0; index < transactions; index++)
    await trial.apply(...largeInserts(trial.random, 'a', index * rows, rows, ROW_BYTES))
}

/** Waits until no more bytes come. A source that keeps the law is still at once, so nothing hangs on the time. */
async function isStill(run: SourceRun, bytes: () => number): Promise<void> {
  let last: number | null = null
  await run.until('what the source hands over or reads comes to an end', async () => {
    const before = last
    last = bytes()
    if (before !== null && last - before <= STILL_BYTES) return true
    await delay(STILL_MS)
    return false
  })
}

function isBounded(bytes: number, writes: number, most: number): void {
  assert.ok(bytes <= MOST_HELD, `${bytes} bytes were handed over although no write came back`)
  assert.ok(writes <= most, `${writes} batches were handed over although no write came back`)
}

export const budgetLaws = [largeTransaction, unreadStream, unreadCopy, unreadServer]
