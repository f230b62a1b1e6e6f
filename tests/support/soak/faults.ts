import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../../../src/testkit/random.ts'
import type { Direction, TcpProxy } from '../../../src/testkit/tcp-proxy.ts'
import { type Stage, walSenderTimeoutMs } from './stage.ts'

/** Something bad that happens, and is over when `run` returns. */
export interface Fault {
  readonly kind: string
  /** The process of the pipeline is another one afterwards. */
  readonly endsProcess: boolean
  /** Does it; `tell` gets what exactly, for the log. */
  run(stage: Stage, random: Random, tell: (what: string) => void): Promise<void>
}

const THROTTLED_BYTES_PER_SECOND = 64 * 1024

export const FAULTS: readonly Fault[] = [
  {
    kind: 'SIGKILL of the pipeline',
    endsProcess: true,
    async run(stage) {
      await stage.end('SIGKILL')
      stage.start()
    },
  },
  {
    kind: 'SIGTERM of the pipeline',
    endsProcess: true,
    async run(stage) {
      const code = await stage.end('SIGTERM')
      if (code !== 0)
        throw new Error(`after SIGTERM the pipeline ended with code ${code}\n${stage.lastWords}`)
      stage.start()
    },
  },
  {
    kind: 'pipeline frozen for longer than wal_sender_timeout',
    endsProcess: false,
    run: (stage, random, tell) => frozen(stage.pid, longerThanTimeout(random), tell),
  },
  ...linkFaults('source', (stage) => stage.sourceLink),
  ...linkFaults('sink', (stage) => stage.sinkLink),
  {
    kind: 'sink refuses connections',
    endsProcess: false,
    async run({ sinkLink }, random, tell) {
      sinkLink.refuse(true)
      sinkLink.cut()
      await forAWhile(2000 + random.below(4000), tell)
      sinkLink.refuse(false)
    },
  },
  {
    kind: 'ClickHouse killed',
    endsProcess: false,
    async run({ clickhouse }, random, tell) {
      await clickhouse.kill()
      await forAWhile(random.below(3000), tell)
      await clickhouse.restart()
    },
  },
  {
    kind: 'Postgres restarted, fast',
    endsProcess: false,
    run: ({ postgres }) => postgres.restart(),
  },
  {
    kind: 'Postgres restarted, immediate',
    endsProcess: false,
    async run({ postgres }) {
      process.kill(postgres.pid, 'SIGQUIT')
      await postgres.restart()
    },
  },
  {
    kind: 'replication backend terminated',
    endsProcess: false,
    async run(stage) {
      await stage.sql(
        'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL',
      )
    },
  },
  {
    kind: 'replication backend frozen',
    endsProcess: false,
    async run(stage, random, tell) {
      const pid = await stage.walSender()
      if (pid !== null) await frozen(pid, longerThanTimeout(random), tell)
    },
  },
]

function linkFaults(side: 'source' | 'sink', linkOf: (stage: Stage) => TcpProxy): readonly Fault[] {
  const direction = (random: Random): Direction => random.pick(['toServer', 'toClient'])
  return [
    {
      kind: `${side} link cut`,
      endsProcess: false,
      run: async (stage) => linkOf(stage).cut(),
    },
    {
      kind: `${side} link stalled for longer than wal_sender_timeout`,
      endsProcess: false,
      async run(stage, random, tell) {
        const where = random.chance(0.5) ? 'both' : direction(random)
        linkOf(stage).stall(where)
        await forAWhile(longerThanTimeout(random), tell, where)
        linkOf(stage).resume()
      },
    },
    {
      kind: `${side} link half closed`,
      endsProcess: false,
      async run(stage, random, tell) {
        const where = direction(random)
        tell(where)
        linkOf(stage).halfClose(where)
      },
    },
    {
      kind: `${side} link throttled`,
      endsProcess: false,
      async run(stage, random, tell) {
        linkOf(stage).throttle(THROTTLED_BYTES_PER_SECOND, 'both')
        await forAWhile(3000 + random.below(3000), tell)
        linkOf(stage).resume()
      },
    },
  ]
}

function longerThanTimeout(random: Random): number {
  return walSenderTimeoutMs * 1.3 + random.below(walSenderTimeoutMs)
}

async function frozen(pid: number, ms: number, tell: (what: string) => void): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  try {
    await forAWhile(ms, tell)
  } finally {
    try {
      process.kill(pid, 'SIGCONT')
    } catch {
      // A frozen process of the server is gone when somebody has ended it.
    }
  }
}

/** A moment, not a condition: how long it lasts is what the fault is. */
async function forAWhile(ms: number, tell: (what: string) => void, where = ''): Promise<void> {
  tell(`${where === '' ? '' : `${where}, `}for ${(ms / 1000).toFixed(1)} s`)
  await delay(ms)
}
