import { setTimeout as delay } from 'node:timers/promises'
import type { ConnectorContext, Logger } from '../../core/context.ts'
import { ConfigError, CoreError, toCoreError } from '../../core/error.ts'
import { type KeyRange, type PackedKeys, type SourceSnapshot, WHOLE_TABLE } from '../../core/row-reader.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import type { PipelineDefinition, SinkDefinition } from '../definition.ts'
import { createSource, sourceContext } from '../mapping/pipeline-source.ts'
import { Backoff, directiveFor } from '../policy.ts'
import { chooseSink, chooseTables } from './choose.ts'
import { compareRange } from './compare-range.ts'
import { examplesOf } from './examples.ts'
import { Gate, stopped } from './gate.ts'
import type { VerifyProgress, VerifyReport } from './report.ts'
import { RowHasher } from './row-hash.ts'
import { chooseRanges, seeded } from './sample.ts'
import { GONE, keyShape, type Obstacle, settle } from './settle.ts'
import { Sides } from './sides.ts'
import { SuspectPool } from './suspect-pool.ts'
import { TableResult } from './table-result.ts'

export interface VerifyOptions {
  readonly log: Logger
  readonly signal?: AbortSignal
  /** Name of the sink; may be left out when there is only one. */
  readonly sink?: string
  /** Patterns as in a config; all tables of the pipeline when left out. */
  readonly tables?: readonly string[]
  /** Compares a random part of the key ranges; the seed brings the same ones back. */
  readonly sample?: { readonly fraction: number; readonly seed?: number }
  /** How long the pipeline may take to pass a position, in milliseconds. */
  readonly timeoutMs?: number
  /** Adds some differences with their values to the report. */
  readonly showValues?: boolean
  /** Milliseconds since 1970 UTC. */
  readonly now?: () => number
  readonly onProgress?: (progress: VerifyProgress) => void
}

const DEFAULT_TIMEOUT_MS = 60_000
/** How long failures are repeated before anything was read. */
const FIRST_CONTACT_MS = 3000
/** Ranges that are compared at the same time. */
const PARALLEL_RANGES = 2
/** Suspects that are looked at together. */
const SETTLE_KEYS = 20_000
const POLL_MS = 200

/** The sink does not have the table as the source does. */
class Unready {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    this.problems = problems
  }
}

/** A range to compare. */
interface Job {
  readonly result: TableResult
  readonly range: KeyRange
  /** What the range was cut by. */
  readonly keyShape: string
  /** Estimated rows. */
  readonly rows: number
}

/** One comparison of a source with a sink. */
export class Comparison implements AsyncDisposable {
  readonly sides: Sides
  readonly gate: Gate
  readonly signal: AbortSignal
  results: readonly TableResult[] = []
  readonly #definition: PipelineDefinition
  readonly #sink: SinkDefinition
  readonly #options: VerifyOptions
  readonly #timeoutMs: number
  readonly #seed: number
  readonly #startedAt = performance.now()
  readonly #suspects = new SuspectPool()
  #settling: Promise<void> = Promise.resolve()
  #failed = false
  #failure: CoreError | null = null
  #phase: VerifyProgress['phase'] = 'waiting'
  #rows = 0
  #rowsTotal = 0
  #tablesDone = 0

  private constructor(
    definition: PipelineDefinition,
    sink: SinkDefinition,
    options: VerifyOptions,
    sides: Sides,
    gate: Gate,
  ) {
    this.sides = sides
    this.gate = gate
    this.signal = options.signal ?? new AbortController().signal
    this.#definition = definition
    this.#sink = sink
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.#seed = options.sample?.seed ?? Math.floor(Math.random() * 2 ** 31)
  }

  static async open(definition: PipelineDefinition, options: VerifyOptions): Promise<Comparison> {
    const chosen = chooseSink(definition, options.sink)
    const context = contextOf(definition, options)
    const source = await createSource(definition)
    const sink = chosen.create()
    if (source.openReader === undefined) throw notReadable(`a source of type "${source.type}"`)
    if (sink.openReader === undefined) throw notReadable(`a sink of type "${sink.type}"`)
    const { signal = new AbortController().signal, timeoutMs = DEFAULT_TIMEOUT_MS, log } = options
    const gate = new Gate({ definition, sink: chosen.name, timeoutMs, log, signal })
    const sourceReader = await source.openReader(await sourceContext(definition, source, context))
    try {
      const sides = new Sides(sourceReader, await sink.openReader(context), gate)
      return new Comparison(definition, chosen, options, sides, gate)
    } catch (error) {
      await sourceReader[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Compares the tables and finds out about every row that seems to differ. */
  async run(): Promise<void> {
    const begin = (): Promise<void> =>
      this.sides.use(async (snapshot) => {
        const tables = chooseTables(snapshot.tables, this.#options.tables ?? [])
        this.results = tables.map((table) => new TableResult(table))
        this.#rowsTotal = tables.reduce((sum, table) => sum + snapshot.rowCount(table), 0)
      })
    // Somebody waits for an answer: a wrong address should be one soon.
    await this.persistently(begin, Math.min(FIRST_CONTACT_MS, this.#timeoutMs))
    this.#rowsTotal *= this.#options.sample?.fraction ?? 1
    this.enter('comparing')
    const jobs = this.#jobs()
    const workers = Array.from({ length: PARALLEL_RANGES }, () => this.#work(jobs))
    for (const end of await Promise.allSettled(workers)) if (end.status === 'rejected') throw end.reason
    await this.settlePending()
  }

  /** Says that rows of a table seem to differ. */
  suspect(result: TableResult, table: TableSchema, keys: PackedKeys): void {
    this.#suspects.add(result, table, keys)
  }

  /** Finds out about all suspects so far. */
  settlePending(): Promise<void> {
    const settled = this.#settling.then(() => this.#settle())
    this.#settling = settled.catch(() => {})
    return settled
  }

  /** Repeats what fails in a way that passes, with new snapshots, as long as the timeout allows. */
  persistently<A>(work: () => Promise<A>, budgetMs = this.#timeoutMs): Promise<A> {
    return this.retried((attempt) => (attempt === 1 ? work() : this.sides.renew().then(work)), budgetMs)
  }

  /** The same with the same snapshots. */
  async retried<A>(work: (attempt: number) => Promise<A>, budgetMs = this.#timeoutMs): Promise<A> {
    const backoff = new Backoff(() => budgetMs, Math.random)
    for (let attempt = 1; ; attempt++) {
      this.check()
      try {
        return await work(attempt)
      } catch (thrown) {
        const error = toCoreError(thrown)
        const wait = directiveFor(error, 'call') === 'halt' ? null : backoff.next(error, performance.now())
        if (wait === null) throw error
        this.#options.log.warn(`a call failed, it will be repeated: ${error.message}`, {
          code: error.code,
          delayMs: wait,
        })
        await this.pause(wait)
      }
    }
  }

  /**
   * Repeats `work` with new snapshots while it finds problems with a table: the pipeline may be about to make a change
   * of the schema. They are noted when that takes too long, or nobody runs the pipeline.
   */
  async #untilReady<A>(result: TableResult, work: () => Promise<Unready | A>): Promise<A | null> {
    const wait = this.#patience()
    for (;;) {
      const outcome = await this.persistently(work)
      if (!(outcome instanceof Unready)) return outcome
      if (!(await wait(outcome.problems))) {
        result.note(outcome.problems)
        return null
      }
      await this.sides.renew()
    }
  }

  /** Waits a moment at each call; false when there was time enough, or nobody will make the table better. */
  #patience(): (obstacle: Obstacle) => Promise<boolean> {
    const deadline = performance.now() + this.#timeoutMs
    return async (obstacle) => {
      if (performance.now() > deadline) return false
      if (!(obstacle instanceof CoreError) && !(await this.gate.isRunning())) return false
      await this.pause(POLL_MS)
      return true
    }
  }

  /** Ends everything with this error. */
  fail(error: CoreError): void {
    this.#failure ??= error
  }

  check(): void {
    if (this.signal.aborted) throw stopped()
    if (this.#failure !== null) throw this.#failure
  }

  async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.signal }).catch(() => {
      throw stopped()
    })
  }

  async report(): Promise<VerifyReport> {
    if (this.#options.showValues === true) {
      for (const result of this.results)
        result.examples = await this.persistently(() => examplesOf(result, this.sides))
    }
    const tables = this.results.map((result) => result.report())
    const { sample } = this.#options
    return {
      pipeline: this.#definition.name,
      sink: this.#sink.name,
      equal: tables.every(({ equal }) => equal),
      running: this.gate.running,
      position: this.sides.position,
      sample: sample === undefined ? null : { fraction: sample.fraction, seed: this.#seed },
      rows: tables.reduce((sum, { rows }) => sum + rows, 0),
      seconds: (performance.now() - this.#startedAt) / 1000,
      tables,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sides[Symbol.asyncDispose]()
  }

  /** The ranges of all tables. Those that cannot be compared yet come last. */
  async *#jobs(): AsyncGenerator<Job, void, undefined> {
    const random = seeded(this.#seed)
    const later: TableResult[] = []
    for (const result of this.results) {
      const jobs = await this.persistently(() => this.#cut(result, random))
      if (jobs instanceof Unready) later.push(result)
      else yield* jobs
    }
    for (const result of later) yield* (await this.#untilReady(result, () => this.#cut(result, random))) ?? []
  }

  #cut(result: TableResult, random: () => number): Promise<Unready | readonly Job[]> {
    return this.sides.use(async (snapshot) => {
      const table = snapshot.tables.find((one) => tableName(one) === result.name)
      if (table === undefined || table.key.length === 0) {
        result.note([table === undefined ? GONE : 'it has no key, so its rows cannot be told apart'])
        return []
      }
      const { problems, hasRanges } = await this.sides.describe(table)
      if (problems.length > 0) return new Unready(problems)
      const all = hasRanges ? await snapshot.ranges(table) : [WHOLE_TABLE]
      const { sample } = this.#options
      const chosen = sample === undefined ? all : chooseRanges(all, sample.fraction, random)
      result.rangesTotal = all.length
      result.rangesChosen = chosen.length
      const rows = snapshot.rowCount(table) / all.length
      return chosen.map((range) => ({ result, range, rows, keyShape: keyShape(table) }))
    })
  }

  async #work(jobs: AsyncGenerator<Job, void, undefined>): Promise<void> {
    try {
      for await (const job of jobs) {
        if (this.#failed) return
        if (job.result.isFull) job.result.stop()
        else
          await this.#untilReady(job.result, () => this.sides.use((snapshot) => this.#compare(job, snapshot)))
        if (this.#suspects.rowCount >= SETTLE_KEYS) await this.settlePending()
        this.#tablesDone = this.results.filter((one) => one.isDone).length
        this.#publish()
      }
    } catch (error) {
      this.#failed = true
      throw error
    }
  }

  async #compare(job: Job, snapshot: SourceSnapshot): Promise<Unready | void> {
    const { result, range, rows } = job
    const table = snapshot.tables.find((one) => tableName(one) === result.name)
    if (table === undefined || keyShape(table) !== job.keyShape) {
      result.note([GONE])
      return
    }
    const { problems, nullAs } = await this.sides.describe(table)
    if (problems.length > 0) return new Unready(problems)
    const outcome = await compareRange({
      snapshot,
      sink: this.sides.sink,
      table,
      range,
      rows,
      hasher: () => new RowHasher(table, nullAs),
      onBatch: (count) => {
        this.check()
        this.#rows += count
        this.#publish()
      },
    })
    result.rows += outcome.rows
    result.rangesDone++
    this.suspect(result, table, outcome.suspects)
  }

  async #settle(): Promise<void> {
    for (const chunk of this.#suspects.take(SETTLE_KEYS)) {
      const before = this.#phase
      this.enter('settling')
      const open = chunk.filter(({ result }) => !result.isFull)
      const settled = await this.persistently(() => settle(open, this.sides, this.gate, this.#patience()))
      for (const [index, one] of settled.entries()) open[index]!.result.add(one)
      for (const { result } of chunk) if (result.isFull) result.stop()
      this.enter(before)
    }
  }

  /** Says what it does now. */
  enter(phase: VerifyProgress['phase']): void {
    this.#phase = phase
    this.#publish()
  }

  #publish(): void {
    this.#options.onProgress?.({
      phase: this.#phase,
      tablesDone: this.#tablesDone,
      tablesTotal: this.results.length,
      rows: this.#rows,
      rowsTotal: Math.round(this.#rowsTotal),
    })
  }
}

export function contextOf(definition: PipelineDefinition, options: VerifyOptions, run = 0): ConnectorContext {
  return { pipeline: definition.name, log: options.log, now: options.now ?? Date.now, run }
}

function notReadable(what: string): ConfigError {
  return new ConfigError('verify/not-readable', `${what} cannot be read back, so it cannot be compared`, {
    fix: 'Compare with the tools of that system.',
  })
}
