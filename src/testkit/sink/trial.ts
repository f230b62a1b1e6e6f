import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { CoreError } from '../../core/error.ts'
import type { Sink, SinkCapabilities, SinkContext } from '../../core/sink.ts'
import { tableName, type TableSchema } from '../../core/table.ts'
import type { TextRow } from '../change.ts'
import type { Law } from '../law.ts'
import { newRandom, type Random } from '../random.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import type { SinkBench, SinkHarness, SinkNeeds, SinkOptions } from './harness.ts'
import { assertPossible, assertRows, Model } from './model.ts'
import { SinkRun } from './run.ts'
import { stepOf, Story } from './story.ts'
import { Watch } from './watch.ts'

export type SinkLaw = Law<SinkCapabilities, SinkHarness>

/** A law without its check. */
export interface SinkLawText extends Omit<SinkLaw, 'check'> {
  readonly needs?: SinkNeeds
}

/** A law that gets a target of its own, and that is also broken when a message holds a secret or a cell value. */
export function sinkLaw({ needs, ...law }: SinkLawText, check: (trial: Trial) => Promise<void>): SinkLaw {
  return {
    ...law,
    check: async (harness) => {
      const trial = new Trial(harness, await harness.open(needs))
      try {
        await check(trial)
        trial.watch.assertQuiet()
      } catch (error) {
        throw trial.withSeed(error)
      } finally {
        await trial[Symbol.asyncDispose]()
      }
    },
  }
}

const CONNECTED_WITHIN_MS = 20_000
let runs = 0

/** One law at work on one target. */
export class Trial implements AsyncDisposable {
  readonly bench: SinkBench
  readonly capabilities: SinkCapabilities
  readonly watch: Watch
  /** Is in every text that the law writes, and must be in no message. */
  readonly mark: string
  readonly random: Random
  readonly #harness: SinkHarness
  readonly #sinks: Sink[] = []
  readonly #proxies: TcpProxy[] = []

  constructor(harness: SinkHarness, bench: SinkBench, parent?: Trial) {
    this.#harness = harness
    this.bench = bench
    this.capabilities = harness.capabilities
    this.random = parent?.random ?? newRandom()
    this.mark =
      parent?.mark ??
      `Zq${this.random
        .below(2 ** 30)
        .toString(36)
        .toUpperCase()}`
    this.watch = parent?.watch ?? new Watch([this.mark])
    for (const secret of bench.secrets) this.watch.forbid(secret)
  }

  /** The same law at work on one more fresh target. */
  async again(needs?: SinkNeeds): Promise<Trial> {
    return new Trial(this.#harness, await this.#harness.open(needs), this)
  }

  /** What a pipeline gives a sink; a later run has a larger number. */
  context(): SinkContext {
    runs++
    return { pipeline: this.bench.pipeline, run: runs, now: () => Date.now(), log: this.watch.log }
  }

  /** A sink that is not connected. It is disconnected at the end of the law. */
  create(options?: SinkOptions): Sink {
    const sink = this.bench.create(options)
    this.#sinks.push(sink)
    return sink
  }

  /** A new run, as after a restart: connected, without its tables. */
  async connect(options?: SinkOptions): Promise<SinkRun> {
    const deadline = performance.now() + CONNECTED_WITHIN_MS
    for (;;) {
      const sink = this.create(options)
      try {
        const { position } = await sink.connect(this.context())
        return new SinkRun(sink, position, this.watch)
      } catch (error) {
        this.watch.error(error)
        await sink.disconnect()
        const passes = error instanceof CoreError && error.retryable
        if (!passes || performance.now() > deadline) throw error
        await delay(20)
      }
    }
  }

  /** A new run to which the source has announced its tables. */
  async start(tables: readonly TableSchema[], options?: SinkOptions): Promise<SinkRun> {
    const run = await this.connect(options)
    for (const schema of tables) await run.createTable(schema)
    return run
  }

  /** A new run that begins in the middle of a story, whatever the sink had before. */
  async startAt(story: Story, step: number): Promise<SinkRun> {
    const run = await this.start(story.tablesAfter(step))
    if (stepOf(run.held) > step) await run.rewind(step)
    return run
  }

  /** Plays a story from a step on in a run of its own, makes it durable and ends the run. */
  async playThrough(story: Story, from = 0): Promise<void> {
    const run = await this.startAt(story, from)
    await run.play(story, from)
    await run.flush()
    await run.end()
  }

  /** A random commit of the story, where a run may begin: at `from` or later, at `to` or earlier. */
  commitBetween(story: Story, from: number, to: number): number {
    return this.random.pick(story.resumable.filter((step) => step === from || (step > from && step <= to)))
  }

  /** The target holds what the story ends with. */
  async expect(after: Story | Model, when: string): Promise<void> {
    const model = after instanceof Story ? Model.after(after) : after
    for (const schema of model.tables)
      assertRows(schema, await this.bench.rows(schema), model.rows(schema), when)
  }

  /** The target holds everything up to `durable`, and nothing that was not sent. */
  async expectBetween(model: Model, durable: number, when: string): Promise<void> {
    for (const schema of model.tables)
      assertPossible(schema, await this.bench.rows(schema), model.possible(schema, durable), when)
  }

  async expectRows(schema: TableSchema, expected: readonly TextRow[], when: string): Promise<void> {
    assertRows(schema, await this.bench.rows(schema), expected, when)
  }

  /** A proxy in front of the target's server. */
  async proxy(): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(this.offered('address', this.bench.address))
    this.#proxies.push(proxy)
    return proxy
  }

  /** Means that a bench may leave out. */
  offered<T>(means: string, value: T | undefined): T {
    assert(value !== undefined, `the bench has no \`${means}\`: offer it, or waive the law`)
    return value
  }

  /** The error of a call that must fail. */
  async failure(what: string, call: () => Promise<unknown>): Promise<CoreError> {
    try {
      await call()
    } catch (error) {
      this.watch.error(error)
      assert(error instanceof CoreError, `${what} failed with ${String(error)} instead of a CoreError`)
      return error
    }
    return assert.fail(`${what} did not fail`)
  }

  withSeed(error: unknown): unknown {
    if (!(error instanceof Error)) return error
    const { message, stack } = error
    error.message = `${message} (repeat with SLUICE_SEED=${this.random.seed})`
    if (stack !== undefined) error.stack = stack.replace(message, () => error.message)
    return error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A law says what disconnecting must do; here it must not hide what another law found.
    const ended = Promise.allSettled(this.#sinks.map(async (sink) => sink.disconnect()))
    await Promise.race([ended, delay(2000, null, { ref: false })])
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]()
    await this.bench[Symbol.asyncDispose]()
  }
}

/** The message names the table, and the column when there is one. Both stand between things that are no letters. */
export function assertNames(error: CoreError, schema: TableSchema, column: string | null): void {
  for (const name of column === null ? [schema.name] : [schema.name, column])
    assert(
      error.message.includes(name),
      `the message about ${tableName(schema)} does not name "${name}": ${error.message}`,
    )
}
