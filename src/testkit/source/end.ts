/** Laws about the end: a source stops when it is told to, frees what it has, and removes nothing. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { CoreError, InternalError } from '../../core/error.ts'
import { settles } from '../wait-for.ts'
import { Journal } from './journal.ts'
import { inserts, largeInserts } from './rows.ts'
import type { RunOptions, SourceRun } from './run.ts'
import { sourceLaw, type Trial } from './trial.ts'

/** An abort ends `stream` within a second; the rest is for a machine that is busy with something else. */
const ABORT_MS = 1000
const SLACK_MS = 2000

/** The stream ends in time and normally, and so does the disconnect. */
async function endsInTime(run: SourceRun, trial: Trial): Promise<void> {
  run.abort()
  assert.ok(
    await settles(run.done, ABORT_MS + SLACK_MS),
    `stream goes on ${ABORT_MS + SLACK_MS} ms after the abort`,
  )
  await run.stop()
  await isGone(trial)
}

/** Servers may need a moment to see that a connection is gone. */
async function isGone(trial: Trial): Promise<void> {
  if (trial.bench.connections === undefined) return
  const connections = trial.means('connections')
  await trial.waitFor('no connection is left', async () => (await connections()) === 0)
}

/** A run whose `write` does not come back from the first batch of rows on. */
async function heldRun(trial: Trial): Promise<SourceRun> {
  const never = new Promise<void>(() => {})
  let held = false
  const run = await trial.run(new Journal(), {
    onWrite: ({ rowCount }) => {
      held ||= rowCount > 0
      return held ? never : undefined
    },
  })
  await run.until('a write is held', () => held)
  return run
}

const duringCopy = sourceLaw({
  id: 'abort-ends-a-copy',
  title: 'ends within a second of an abort while it copies, and leaves no connection',
  applies: ({ snapshot }) => snapshot,
  async check(trial) {
    await manyRows(trial)
    let seen = false
    const run = await trial.run(new Journal(), { onWrite: ({ rowCount }) => void (seen ||= rowCount > 0) })
    await run.until('it copies rows', () => seen)
    await endsInTime(run, trial)
  },
})

const duringStream = sourceLaw({
  id: 'abort-ends-a-stream',
  title: 'ends within a second of an abort while it follows the log, and leaves no connection',
  async check(trial) {
    await trial.create('a')
    const idle = await trial.run()
    await idle.settled()
    await endsInTime(idle, trial)
    let seen = false
    const busy = await trial.run(idle.journal, { onWrite: ({ rowCount }) => void (seen ||= rowCount > 0) })
    await busy.settled()
    await trial.apply(...largeInserts(trial.random, 'a', 1, 100, 64 * 1024))
    await busy.until('it hands over rows', () => seen)
    await endsInTime(busy, trial)
  },
})

const whileHeld = sourceLaw({
  id: 'abort-ends-a-held-write',
  title: 'ends within a second of an abort while a write is held, and leaves no connection',
  async check(trial) {
    await manyRows(trial)
    if (trial.capabilities.snapshot) await endsInTime(await heldRun(trial), trial)
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    run.hold()
    const { writes } = run
    await trial.apply(...largeInserts(trial.random, 'a', 100_000, 100, 64 * 1024))
    await run.until('a write is held', () => run.writes > writes)
    await endsInTime(run, trial)
    // The very first write of a start, too.
    const never = new Promise<void>(() => {})
    let held = false
    const first = await trial.run(journal, {
      onWrite: () => {
        held = true
        return never
      },
    })
    await first.until('the first write is held', () => held)
    await endsInTime(first, trial)
  },
})

const connections = sourceLaw({
  id: 'leaves-no-connection',
  title: 'frees every connection when it is disconnected, in whatever state it is',
  async check(trial) {
    const count = trial.means('connections')
    await trial.create('a')
    const run = await trial.run()
    await run.settled()
    await trial.waitFor('the source is seen on the server', async () => (await count()) > 0)
    await endsInTime(run, trial)
    for (const end of STATES) {
      await end(trial)
      await isGone(trial)
    }
  },
})

const disconnects = sourceLaw({
  id: 'disconnect-is-safe',
  title: 'can be disconnected in every state, and removes nothing',
  async check(trial) {
    await manyRows(trial)
    const journal = await trial.read()
    const objects = await trial.bench.objects()
    const rows = await trial.bench.rows('a')
    for (const end of STATES) {
      await end(trial)
      assert.deepEqual(await trial.bench.objects(), objects, 'something is gone from the server, or new')
    }
    assert.deepEqual(await trial.bench.rows('a'), rows)
    if (trial.capabilities.replay === 'none') return
    await trial.apply(...inserts(trial.random, 'a', 200_000, 200_003))
    await trial.equal(await trial.read(journal))
  },
})

/** The states in which a source may be told to disconnect. */
const STATES: readonly ((trial: Trial) => Promise<void>)[] = [
  async (trial) => trial.source().disconnect(),
  async (trial) => {
    const source = trial.source()
    await trial.validate(source)
    await source.disconnect()
    await source.disconnect()
  },
  async (trial) => {
    const source = trial.source()
    await source.connect(trial.context())
    await source.disconnect()
    await source.disconnect()
  },
  (trial) => whileRunning(trial, {}, (run) => run.settled()),
  async (trial) => {
    let writes = 0
    const never = new Promise<void>(() => {})
    const onWrite = (): Promise<void> => {
      writes++
      return never
    }
    await whileRunning(trial, { onWrite }, (run) => run.until('a write is held', () => writes > 0))
  },
]

/** Disconnects before the abort. The stream may then end with an error, but not with one that speaks of a bug. */
async function whileRunning(
  trial: Trial,
  options: RunOptions,
  ready: (run: SourceRun) => Promise<void>,
): Promise<void> {
  const run = await trial.run(new Journal(), options)
  await ready(run)
  assert.ok(
    await settles(run.source.disconnect(), ABORT_MS + SLACK_MS),
    'disconnect does not come back while the stream runs',
  )
  run.abort()
  assert.ok(await settles(run.done, ABORT_MS + SLACK_MS), 'stream goes on after the disconnect and an abort')
  const { failure } = run
  assert.ok(
    failure === null || (failure instanceof CoreError && !(failure instanceof InternalError)),
    `a disconnect makes the stream fail with ${inspect(failure)}`,
  )
  await run.source.disconnect()
}

async function manyRows(trial: Trial): Promise<void> {
  await trial.create('a', 'b')
  for (const table of ['a', 'b'])
    await trial.apply(
      ...largeInserts(trial.random, table, 1, 100, 32 * 1024),
      ...inserts(trial.random, table, 101, 400),
    )
}

export const endLaws = [duringCopy, duringStream, whileHeld, connections, disconnects]
