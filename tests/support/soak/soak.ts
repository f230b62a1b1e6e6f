import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { Random } from '../../../src/testkit/random.ts'
import { startCli } from '../cli.ts'
import { createLoadTables, RandomLoad } from '../random-load.ts'
import { type Fault, FAULTS } from './faults.ts'
import { memoryFaults, type Sample, type Segment } from './memory.ts'
import type { FaultRecord, SoakReport } from './report.ts'
import { configuredMb, Stage } from './stage.ts'

export interface Soak {
  readonly minutes: number
  readonly seed: number
  /** Gets the course, a line at a time. */
  readonly log: (line: string) => void
}

const TABLES = 8
const CONNECTIONS = 4
const LOAD = { schemaChanges: 0.002, truncates: 0.001, large: 0.01, pauseMs: 40, reconnects: true }

/** After a fault the pipeline has to work again within this time: the longest backoff is 30 s. */
const recoveryDeadlineMs = 90_000
/** What has arrived is saved every 200 ms, and then the source is told. */
const confirmDeadlineMs = 10_000
/** What the slot may keep on the server once the pipeline has recovered: a segment of WAL and the load meanwhile. */
const retentionLimitBytes = 128 * 1024 * 1024
/** Between a recovery and the next fault. */
const steadyMs = 3000

/**
 * Load with faults from a seed, one after the other with a recovery in between; at the end everything must be equal.
 * The first half may also end the process; in the second it lives on, so that its memory can be watched. Throws when
 * the pipeline does not recover, or ends by itself; everything else that is wrong is in the report.
 */
export async function soak({ minutes, seed, log }: Soak): Promise<SoakReport> {
  const random = new Random(seed)
  await using stage = await Stage.make()
  const startedMs = performance.now()
  const tell = (line: string): void =>
    log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${line}`)
  const tables = await withClient(stage, (client) => createLoadTables(client, TABLES))
  const load = new RandomLoad(stage.postgres.url, tables, random, LOAD)
  const watch = new Watch(stage)
  const records: FaultRecord[] = []
  const wrong: string[] = []
  let retained = 0
  stage.start()
  load.start(CONNECTIONS)
  try {
    tell(`load of ${CONNECTIONS} connections on ${TABLES} tables, seed ${seed}`)
    await stage.arrived(await stage.mark(), recoveryDeadlineMs)
    const loadMs = performance.now()
    const halfMs = loadMs + minutes * 30_000
    const endMs = loadMs + minutes * 60_000
    let deck: Fault[] = []
    while (performance.now() + steadyMs < endMs) {
      await delay(steadyMs)
      const mayEnd = performance.now() < halfMs
      if (!mayEnd) deck = deck.filter(({ endsProcess }) => !endsProcess)
      if (deck.length === 0) deck = faultsInTurn(mayEnd, random)
      const fault = deck.shift()!
      const recoveryMs = await suffer(fault, stage, watch, random, tell)
      records.push({ kind: fault.kind, atMs: Math.round(performance.now() - startedMs), recoveryMs })
      const { bytes } = await stage.retention()
      retained = Math.max(retained, bytes)
    }
  } finally {
    watch.stop()
    await load.stop()
  }
  tell('the load has stopped')
  await stage.arrived(await stage.mark(), recoveryDeadlineMs)
  const { changes } = stage
  const found = await settled(stage, [...tables, 'marks'])
  wrong.push(...found.slice(0, 20), ...memoryFaults(watch.segments, configuredMb))
  const { slots } = await stage.retention()
  if (slots.length !== 1) wrong.push(`there are the slots ${slots.join(', ')}`)
  if (retained > retentionLimitBytes) wrong.push(`the slot kept ${retained} bytes after a recovery`)
  tell('comparing with `sluice verify`')
  const verified = await verify(stage)
  if (verified.code !== 0) wrong.push(`sluice verify ended with code ${verified.code}: ${verified.output}`)
  const code = await stage.end('SIGTERM')
  if (code !== 0) wrong.push(`at the end the pipeline stopped with code ${code}`)
  return {
    seed,
    minutes,
    equal: found.length === 0,
    wrong,
    commits: load.commits,
    changes,
    faults: records,
    retainedBytes: retained,
    memory: watch.segments,
  }
}

/** One fault and the recovery from it; gives how long the recovery took. */
async function suffer(
  fault: Fault,
  stage: Stage,
  watch: Watch,
  random: Random,
  tell: (line: string) => void,
): Promise<number> {
  watch.steady = false
  tell(fault.kind)
  try {
    await fault.run(stage, random, (what) => tell(`    ${what}`))
    const overMs = performance.now()
    const mark = await stage.mark()
    await stage.arrived(mark, recoveryDeadlineMs)
    const recoveryMs = Math.round(performance.now() - overMs)
    tell(`    recovered in ${(recoveryMs / 1000).toFixed(1)} s`)
    await stage.confirmed(mark, confirmDeadlineMs)
    watch.steady = true
    return recoveryMs
  } catch (error) {
    throw new Error(`after "${fault.kind}": ${(error as Error).message}`, { cause: error })
  }
}

/** Takes a sample of the process's memory every second. */
class Watch {
  steady = true
  readonly #stage: Stage
  readonly #timer: NodeJS.Timeout
  readonly #samples = new Map<number, Sample[]>()

  constructor(stage: Stage) {
    this.#stage = stage
    this.#timer = setInterval(() => this.#sample(), 1000)
  }

  get segments(): readonly Segment[] {
    return [...this.#samples].map(([pid, samples]) => ({ pid, samples }))
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #sample(): void {
    const { memory, pid } = this.#stage
    if (memory === null) return
    const { rssMb, liveMb } = memory
    const samples = this.#samples.get(pid) ?? []
    this.#samples.set(pid, [...samples, { rssMb, liveMb, steady: this.steady }])
  }
}

/** What differs when it stays so: the last rows are written table by table. */
async function settled(stage: Stage, tables: readonly string[]): Promise<readonly string[]> {
  let found: readonly string[] = []
  const equal = async (): Promise<boolean> => {
    found = await stage.differences(tables)
    return found.length === 0
  }
  await stage.until('source and target are equal', equal, 30_000).catch((error: unknown) => {
    if (found.length === 0) throw error
  })
  return found
}

async function verify(stage: Stage): Promise<{ readonly code: number | null; readonly output: string }> {
  const run = startCli(['verify', stage.config, '--json'])
  const { code } = await run.done
  return { code, output: `${run.stdout().slice(0, 1000)}${run.stderr().slice(-1000)}` }
}

async function withClient<A>(stage: Stage, use: (client: pg.Client) => Promise<A>): Promise<A> {
  const client = new pg.Client({ connectionString: stage.postgres.url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** Each fault once, in random order; those that end the process first, so that there is time for them. */
function faultsInTurn(mayEndProcess: boolean, random: Random): Fault[] {
  const all = shuffled(FAULTS, random)
  const ending = mayEndProcess ? all.filter(({ endsProcess }) => endsProcess) : []
  return [...ending, ...all.filter(({ endsProcess }) => !endsProcess)]
}

function shuffled<A>(items: readonly A[], random: Random): A[] {
  return items
    .map((item) => ({ item, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
