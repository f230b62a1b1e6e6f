/** Laws about what lies between a sink and its server. */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { AuthError } from '../../core/error.ts'
import type { TableSchema } from '../../core/table.ts'
import type { Direction, TcpProxy } from '../tcp-proxy.ts'
import { settles, waitFor } from '../wait-for.ts'
import { column, int, table, text } from './cells.ts'
import type { SinkRun } from './run.ts'
import { insert, rows, type Step, Story, transaction } from './story.ts'
import { sinkLaw, type SinkLaw, type Trial } from './trial.ts'

const tables = ['one', 'two', 'three'].map((name) =>
  table(name, [column('1', 'id', int(32)), column('2', 'note', text)]),
)

/** What the runtime gives a call that it has given up, and a process that ends. */
const SOON_MS = 2000
/** How long an answer is late that comes before anybody loses patience. */
const LATE_MS = 300
/** A sink that waits longer than this for an answer is not impatient, see `SinkOptions`. */
const PATIENCE_MS = 20_000

const cutDuringWrite = sinkLaw(
  {
    id: 'cut-during-write',
    title:
      'fails in a way that passes when the connection is cut, before or after the server did the work, and ends equal',
  },
  async (trial) => {
    const { random } = trial
    const { proxy, run } = await through(trial)
    const steps: Step[] = []
    /** Writes one more batch and makes it durable. */
    const store = async (): Promise<void> => {
      steps.push(bulk(trial, steps.length))
      await storeLast(run, steps)
    }
    const before = proxy.bytes
    await store()
    const whole = {
      toServer: proxy.bytes.toServer - before.toServer,
      toClient: proxy.bytes.toClient - before.toClient,
    }
    let cuts = 0
    for (let round = 0; round < 10; round++) {
      const direction: Direction = round % 2 === 0 ? 'toServer' : 'toClient'
      let left = random.below(whole[direction])
      proxy.inspect = (bytes, where) => {
        if (where !== direction || left < 0) return 'pass'
        left -= bytes.length
        if (left >= 0) return 'pass'
        cuts++
        proxy.cut()
        return 'cut'
      }
      await store()
    }
    proxy.inspect = null
    assert(
      cuts >= 5,
      `only ${cuts} of 10 writes were cut: the sink does not reach its server through the proxy`,
    )
    await run.end()
    await trial.expect(new Story(tables, steps), 'after writes that were cut and made again')
  },
)

const slowAnswer = sinkLaw(
  {
    id: 'slow-answer',
    title: 'is right when answers are slow, and fails in a way that passes when none comes',
  },
  async (trial) => {
    const { proxy, run } = await through(trial, true)
    const steps: Step[] = [bulk(trial, 0)]
    await storeLast(run, steps)
    for (const direction of ['toClient', 'toServer'] as const) {
      proxy.stall(direction)
      steps.push(bulk(trial, steps.length))
      const late = storeLast(run, steps)
      await delay(LATE_MS)
      proxy.resume()
      await late

      proxy.stall(direction)
      steps.push(bulk(trial, steps.length))
      const batch = batchOf(steps)
      const lost = run.tryStore(batch)
      assert(
        await settles(lost, PATIENCE_MS),
        `a write without an answer did not end within ${PATIENCE_MS} ms`,
      )
      const error = await trial.failure('a write without an answer', () => lost)
      assert(error.retryable, `a write without an answer failed for good: ${error.message}`)
      proxy.resume()
      await run.store(batch)
    }
    proxy.throttle(1_000_000, 'both')
    steps.push(bulk(trial, steps.length))
    await storeLast(run, steps)
    proxy.resume()
    await run.end()
    await trial.expect(new Story(tables, steps), 'after slow answers')
  },
)

const abortDuringCall = sinkLaw(
  {
    id: 'abort-during-call',
    title:
      'ends a call that waits for its server soon after it is aborted or disconnected, and frees its connections',
  },
  async (trial) => {
    const { proxy, run } = await through(trial)
    const steps: Step[] = [bulk(trial, 0), bulk(trial, 1)]
    const story = new Story(tables, steps)
    await run.play(story, 0, { to: 1 })
    await run.flush()
    proxy.stall('both')
    const controller = new AbortController()
    const write = run.tryStore(batchOf(steps), controller.signal)
    controller.abort()
    await mustEnd(trial, write, 'a write that was aborted')
    await mustDisconnect(run)

    for (const what of ['write', 'createTable'] as const) {
      proxy.resume()
      const next = await trial.start(tables, options(proxy))
      proxy.stall('both')
      const call = what === 'write' ? next.tryStore(batchOf(steps)) : next.sink.createTable(tables[0]!)
      call.catch(() => {})
      await mustDisconnect(next)
      await mustEnd(trial, call, `${what} of a sink that was disconnected`)
    }
    proxy.resume()
    await waitFor('all connections are closed', () => proxy.connections === 0)
    await trial.playThrough(story, 1)
    await trial.expect(story, 'after calls that were given up')
  },
)

const unreachable = sinkLaw(
  {
    id: 'unreachable',
    title: 'fails in a way that passes while its server is not there, and goes on when it is there again',
  },
  async (trial) => {
    const { proxy, run } = await through(trial)
    const steps: Step[] = [bulk(trial, 0)]
    await storeLast(run, steps)
    proxy.refuse(true)
    proxy.cut()
    const early = trial.create(options(proxy))
    const refused = await trial.failure('connecting to a server that is not there', () =>
      early.connect(trial.context()),
    )
    assert(refused.retryable, `a server that is not there failed for good: ${refused.message}`)
    await early.disconnect()
    steps.push(bulk(trial, 1))
    const batch = batchOf(steps)
    const error = await trial.failure('a write to a server that is not there', () => run.tryStore(batch))
    assert(error.retryable, `a write to a server that is not there failed for good: ${error.message}`)
    proxy.refuse(false)
    await run.store(batch)
    await run.end()
    await trial.playThrough(new Story(tables, steps), 1)
    await trial.expect(new Story(tables, steps), 'after the server was away')
  },
)

const wrongPassword = sinkLaw(
  {
    id: 'wrong-password',
    title: 'fails with an AuthError at connect when the password is wrong, and its check says so',
  },
  async (trial) => {
    const sink = trial.create({ wrongPassword: true })
    const error = await trial.failure('connecting with a wrong password', () => sink.connect(trial.context()))
    assert(error instanceof AuthError, `a wrong password failed with ${error.name}: ${error.message}`)
    assert(!error.retryable, 'a wrong password failed with an error that says it passes')
    await sink.disconnect()
    const checked = trial.create({ wrongPassword: true })
    try {
      const problems = await checked.validate(trial.context())
      trial.watch.problems(problems)
      assert(
        problems.some(({ severity }) => severity === 'error'),
        'the check finds nothing wrong with a wrong password',
      )
    } catch (failure) {
      trial.watch.error(failure)
      assert(failure instanceof AuthError, failure as Error)
    }
  },
)

/** A run whose server is behind a proxy. */
async function through(
  trial: Trial,
  impatient = false,
): Promise<{ readonly proxy: TcpProxy; readonly run: SinkRun }> {
  const proxy = await trial.proxy()
  return { proxy, run: await trial.start(tables, { ...options(proxy), impatient }) }
}

function options({ port }: TcpProxy) {
  return { through: { host: '127.0.0.1', port } }
}

/** Rows of every table, some hundred kilobytes. */
function bulk(trial: Trial, step: number): Step {
  const row = (schema: TableSchema, index: number) =>
    insert(schema, { id: step * 1000 + index, note: `${trial.mark} ${index} `.repeat(20) })
  return rows(...tables.flatMap((schema) => Array.from({ length: 200 }, (_, index) => row(schema, index))))
}

function batchOf(steps: readonly Step[]) {
  const last = steps.at(-1)!
  return transaction(steps.length, ...(last.kind === 'rows' ? last.changes : []))
}

function storeLast(run: SinkRun, steps: readonly Step[]): Promise<void> {
  return run.store(batchOf(steps))
}

async function mustEnd(trial: Trial, call: Promise<unknown>, what: string): Promise<void> {
  assert(await settles(call, SOON_MS), `${what} did not end within ${SOON_MS} ms`)
  await trial.failure(what, () => call)
}

async function mustDisconnect(run: SinkRun): Promise<void> {
  assert(
    await settles(run.end(), SOON_MS),
    `disconnect did not end within ${SOON_MS} ms while the server does not answer`,
  )
}

export const networkLaws: readonly SinkLaw[] = [
  cutDuringWrite,
  slowAnswer,
  abortDuringCall,
  unreachable,
  wrongPassword,
]
