/** Laws about the link to the server: what is lost on it, and who may use it. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { AuthError, CoreError } from '../../core/error.ts'
import type { RecordBatch } from '../../core/batch.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import type { SourceOptions } from './harness.ts'
import { isRow, Journal } from './journal.ts'
import { inserts } from './rows.ts'
import type { RunOptions, SourceRun } from './run.ts'
import { sourceLaw, type Trial } from './trial.ts'
import { Writers } from './writers.ts'

/** The source behind a proxy, and the proxy. */
async function behindProxy(trial: Trial): Promise<{ proxy: TcpProxy; source: SourceOptions }> {
  const proxy = await TcpProxy.start(trial.means('address'))
  return { proxy, source: { through: { host: '127.0.0.1', port: proxy.port } } }
}

function isRetryable(error: unknown): void {
  assert.ok(error instanceof CoreError, `a lost link is no CoreError: ${inspect(error)}`)
  assert.ok(error.retryable, `a lost link (${error.code}) is said not to be worth another try`)
}

const cut = sourceLaw({
  id: 'cut-link-is-retryable',
  title: 'fails with a retryable error when its link is cut, or goes on, and nothing is lost',
  timeoutMs: 120_000,
  async check(trial) {
    const { proxy, source } = await behindProxy(trial)
    await using _ = proxy
    await trial.create('a', 'b')
    const writers = new Writers(trial, ['a', 'b'], 1000)
    await writers.fill()
    writers.start()
    const journal = new Journal()
    const repeats = trial.capabilities.replay === 'log'
    for (let round = 0; round < (repeats ? 6 : 1); round++) {
      const enough = round === 0 ? 4 : 1 + trial.random.below(30)
      const onWrite = (_: RecordBatch, self: SourceRun): void | Promise<void> => {
        if (self.writes < enough) return writers.more(1)
        if (self.writes === enough) self.hold()
      }
      const run = await started(trial, journal, { source, onWrite })
      await run.until('some of it is handed over', () => run.writes >= enough || writers.done)
      proxy.cut()
      run.release()
      await survives(trial, run, 1_000_000 + round)
      await run.source.disconnect()
    }
    await writers.stop()
    if (!repeats) return
    const last = await started(trial, journal, { source })
    await last.settled()
    await last.stop()
    await trial.equal(journal)
  },
})

/** A source that had nothing under way may not even notice, and goes on to what is written after the cut. */
async function survives(trial: Trial, run: SourceRun, id: number): Promise<void> {
  const [later] = inserts(trial.random, 'a', id, id + 1)
  await trial.apply(later!)
  const goesOn = (): boolean =>
    run.journal.entries.some((entry) => isRow(entry) && entry.after?.['id'] === String(id))
  await trial.waitFor('the source fails, or goes on', () => run.ended || goesOn())
  if (run.ended) isRetryable(await run.failed())
  else await run.stop()
}

/** A run that has handed something over. The server may need some time, and attempts, to see that the last one is gone. */
async function started(trial: Trial, journal: Journal, options: RunOptions): Promise<SourceRun> {
  let run: SourceRun | null = null
  await trial.waitFor('a new source starts', async () => {
    try {
      run = await trial.run(journal, options)
    } catch (error) {
      isRetryable(error)
      return false
    }
    const attempt = run
    await trial.waitFor('it hands something over, or fails', () => attempt.writes > 0 || attempt.ended)
    if (!attempt.ended) return true
    isRetryable(await attempt.failed())
    await attempt.source.disconnect()
    return false
  })
  return run!
}

const unreachable = sourceLaw({
  id: 'unreachable-is-retryable',
  title: 'fails with a retryable error when it cannot reach the server',
  async check(trial) {
    const { proxy, source } = await behindProxy(trial)
    await using _ = proxy
    proxy.refuse(true)
    const unreached = trial.source(source)
    await assert.rejects(unreached.connect(trial.context()), (error) => {
      isRetryable(error)
      return true
    })
    await unreached.disconnect()
  },
})

const password = sourceLaw({
  id: 'wrong-password-is-auth-error',
  title: 'fails with AuthError when the password is wrong, which no second try would mend',
  async check(trial) {
    const source = trial.source({ wrongPassword: true })
    const error: unknown = await source.connect(trial.context()).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    await source.disconnect()
    assert.ok(error !== null, 'connect succeeds with a wrong password')
    assert.ok(error instanceof AuthError, `connect fails with ${inspect(error)}`)
    assert.equal(error.retryable, false, 'a wrong password is said to be worth another try')
    assert.ok((error.fix ?? '') !== '', 'the error does not say what to do')
  },
})

export const linkLaws = [cut, unreachable, password]
