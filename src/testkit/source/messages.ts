/** The law about what is said (law L14). Every other law looks at the messages of its own runs as well. */
import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { ConnectionError } from '../../core/error.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import { Journal } from './journal.ts'
import { inserts, largeInserts } from './rows.ts'
import { sourceLaw, type Trial } from './trial.ts'

const messages = sourceLaw({
  id: 'messages-hold-no-values',
  title: 'puts no secret and no value of a cell into a log line or an error',
  async check(trial) {
    await trial.create('a', 'b')
    await trial.apply(...inserts(trial.random, 'a', 0, 20), ...inserts(trial.random, 'b', 0, 20))
    const journal = await trial.read()
    await trial.apply(...inserts(trial.random, 'a', 20, 40))
    for (const provoke of [refusedBatch, foreignPosition, cutLink, wrongPassword, lostHistory])
      await provoke(trial, journal)
    assert.ok(trial.evidence.errors > 0, 'no error could be provoked, so nothing is proved')
  },
})

type Provoke = (trial: Trial, journal: Journal) => Promise<void>

/** Whoever takes the rows fails in the middle of them. */
const refusedBatch: Provoke = async (trial, journal) => {
  const onWrite = ({ rowCount }: { readonly rowCount: number }): void => {
    if (rowCount > 0) throw new ConnectionError('testkit/refused', 'the kit does not take this batch')
  }
  const run = await trial.run(trial.capabilities.snapshot ? new Journal() : journal, { onWrite })
  await run.failed()
  await run.source.disconnect()
}

const foreignPosition: Provoke = async (trial, journal) => {
  if (trial.capabilities.replay === 'none') return
  const run = await trial.run(new Journal(journal.entries), {
    from: { order: '1', resume: ['something else'] },
  })
  await run.failed()
  await run.source.disconnect()
}

/** In the middle of a row. */
const cutLink: Provoke = async (trial, journal) => {
  if (trial.bench.address === undefined) return
  const proxy = await TcpProxy.start(trial.bench.address)
  await using _ = proxy
  const through = { host: '127.0.0.1', port: proxy.port }
  const run = await trial.run(new Journal(journal.entries), {
    source: { through },
    onWrite: () => setImmediate(),
  })
  await run.settled()
  const before = proxy.bytes.toClient
  await trial.apply(...largeInserts(trial.random, 'a', 1000, 50, 200_000))
  await run.until('rows are on their way', () => proxy.bytes.toClient > before + 300_000)
  proxy.cut()
  await run.failed()
  await run.source.disconnect()
}

const wrongPassword: Provoke = async (trial) => {
  const source = trial.source({ wrongPassword: true })
  // A law of its own says that both must fail.
  await trial.validate(source).catch(() => {})
  await source.connect(trial.context()).catch(() => {})
  await source.disconnect()
}

const lostHistory: Provoke = async (trial, journal) => {
  if (trial.bench.loseHistory === undefined) return
  await trial.bench.loseHistory()
  const run = await trial.run(new Journal(journal.entries))
  await run.failed()
  await run.source.disconnect()
}

export const messageLaws = [messages]
