/** A law at work: one bench, the sources that it starts, and what it needs to write, wait and compare. */
import assert from 'node:assert/strict'
import type { Problem } from '../../core/error.ts'
import { selectTables } from '../../core/selection.ts'
import type { Source, SourceCapabilities, SourceContext } from '../../core/source.ts'
import type { KitChange, TextRow } from '../change.ts'
import type { Law } from '../law.ts'
import { newRandom, type Random } from '../random.ts'
import { settles, waitFor } from '../wait-for.ts'
import { Evidence } from './evidence.ts'
import type { SourceBench, SourceHarness, SourceOptions } from './harness.ts'
import { Journal } from './journal.ts'
import { Mirror, MirrorError } from './mirror.ts'
import { createTable } from './rows.ts'
import { type RunOptions, SourceRun } from './run.ts'

export type SourceLaw = Law<SourceCapabilities, SourceHarness>

/** Opens the bench for `check`, closes it, and makes sure that nothing said by the connector holds a value. */
export function sourceLaw(
  definition: Omit<SourceLaw, 'check'> & { check(trial: Trial): Promise<void> },
): SourceLaw {
  const { check, ...law } = definition
  return {
    ...law,
    async check(harness) {
      const trial = await Trial.open(harness)
      try {
        await check(trial)
      } catch (error) {
        // What the law found matters more than what its end brings.
        await trial.close().catch(() => {})
        const seed = `seed ${trial.random.seed}, SLUICE_SEED brings it back`
        throw error instanceof Error ? Object.assign(error, { message: `${error.message} (${seed})` }) : error
      }
      await trial.close()
      trial.evidence.check(trial.bench.secrets)
    },
  }
}

const defaultPatienceMs = 20_000

export class Trial {
  readonly bench: SourceBench
  readonly capabilities: SourceCapabilities
  readonly random: Random = newRandom()
  readonly evidence = new Evidence()
  /** Tables of the kit that there are, in the order in which they were made. */
  readonly tables: string[] = []
  readonly #patienceMs: number
  readonly #runs: SourceRun[] = []
  #starts = 0

  private constructor(bench: SourceBench, { capabilities, patienceMs }: SourceHarness) {
    this.bench = bench
    this.capabilities = capabilities
    this.#patienceMs = patienceMs ?? defaultPatienceMs
  }

  static async open(harness: SourceHarness): Promise<Trial> {
    return new Trial(await harness.open(), harness)
  }

  async close(): Promise<void> {
    for (const run of this.#runs) await run[Symbol.asyncDispose]()
    await this.bench[Symbol.asyncDispose]()
  }

  /** One of the bench's optional means. Throws when the harness does not offer it: no law passes for want of proof. */
  means<Name extends keyof SourceBench & string>(name: Name): NonNullable<SourceBench[Name]> {
    const means = this.bench[name]
    if (means === undefined || means === null)
      throw new Error(`the law needs "${name}" of the bench: offer it, or waive the law with a reason`)
    return (typeof means === 'function' ? means.bind(this.bench) : means) as NonNullable<SourceBench[Name]>
  }

  context(tables: readonly string[] = this.bench.tables): SourceContext {
    const run = ++this.#starts
    const { pipeline } = this.bench
    const mapping = this.bench.mapping?.() ?? null
    const { log } = this.evidence
    return { pipeline, log, now: () => Date.now(), run, tables: selectTables(tables), mapping }
  }

  /** A new source, whose errors are noted. */
  source(options?: SourceOptions): Source {
    return this.evidence.witness(this.bench.create(options))
  }

  async validate(source: Source): Promise<readonly Problem[]> {
    const problems = await source.validate(this.context())
    this.evidence.problems(problems)
    return problems
  }

  /** A new source at work; goes on with the journal. Ended at the end of the trial at the latest. */
  run(journal: Journal = new Journal(), options?: RunOptions): Promise<SourceRun> {
    return SourceRun.start(this, journal, options)
  }

  adopt(run: SourceRun): void {
    this.#runs.push(run)
  }

  /** Reads everything that there is, and stops. */
  async read(journal: Journal = new Journal()): Promise<Journal> {
    const run = await this.run(journal)
    await run.settled()
    await run.stop()
    return journal
  }

  /** Makes the tables with the kit's columns. */
  async create(...tables: readonly string[]): Promise<void> {
    for (const table of tables) await this.apply(createTable(table))
  }

  /** All changes in one transaction; with a mapping, of each part between changes of it. */
  async apply(...changes: readonly KitChange[]): Promise<void> {
    for (const part of this.bench.mapping === undefined ? [changes] : parts(changes)) {
      const mapping = this.bench.mapping?.()
      await this.bench.apply(part)
      for (const { kind, table } of part) {
        if (kind === 'create-table') this.tables.push(table)
        if (kind === 'drop-table') this.tables.splice(this.tables.indexOf(table), 1)
      }
      if (this.bench.mapping?.() !== mapping) for (const run of this.#runs) await run.reload()
    }
  }

  /** How long a run that is not wanted any more may take to end, in milliseconds. */
  get graceMs(): number {
    return Math.min(5_000, this.#patienceMs)
  }

  /** Waits for a condition, as long as the harness allows. */
  waitFor(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    return waitFor(what, holds, this.#patienceMs)
  }

  /** The result of a call that has to come back. */
  async inTime<T>(what: string, call: Promise<T>): Promise<T> {
    assert.ok(
      await settles(call, this.#patienceMs),
      `${what} does not come back within ${this.#patienceMs} ms`,
    )
    return call
  }

  /** Compares what the journal amounts to with what the server has, table by table. */
  async equal(journal: Journal, tables: readonly string[] = this.tables): Promise<void> {
    const mirror = new Mirror(journal.entries)
    for (const table of tables) {
      const name = this.bench.nameOf(table)
      assert.ok(mirror.schema(name) !== undefined, `${name} was never announced`)
      sameRows(mirror.rows(name), await this.bench.rows(table), `the rows of ${name}`)
    }
  }

  /** Waits until a run has made its journal equal: nothing else tells of the end of a copy that a change brings. */
  async becomesEqual(run: SourceRun, tables?: readonly string[]): Promise<void> {
    let difference: unknown = null
    const isEqual = (): Promise<boolean> =>
      this.equal(run.journal, tables).then(
        () => true,
        (error: unknown) => {
          // No further record mends what does not fit.
          if (error instanceof MirrorError) throw error
          difference = error
          return false
        },
      )
    try {
      await run.until('the tables are equal', isEqual)
    } catch (error) {
      throw run.ended || error instanceof MirrorError ? error : (difference ?? error)
    }
  }
}

/** Changes of rows together, each change of tables and columns alone. */
function parts(changes: readonly KitChange[]): readonly (readonly KitChange[])[] {
  const found: KitChange[][] = []
  let rows: KitChange[] | null = null
  for (const change of changes) {
    if (!['insert', 'update', 'delete', 'truncate'].includes(change.kind)) {
      found.push([change])
      rows = null
    } else if (rows === null) found.push((rows = [change]))
    else rows.push(change)
  }
  return found
}

/** Throws when the rows differ, in whatever order they are. */
export function sameRows(actual: readonly TextRow[], expected: readonly TextRow[], what: string): void {
  const lines = (rows: readonly TextRow[]): readonly string[] =>
    rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort()
  sameLines(lines(actual), lines(expected), what)
}

/** Throws when the texts differ; shows the first difference. */
export function sameLines(actual: readonly string[], expected: readonly string[], what: string): void {
  const length = Math.max(actual.length, expected.length)
  for (let index = 0; index < length; index++) {
    const [found = 'nothing', wanted = 'nothing'] = [actual[index], expected[index]]
    if (found === wanted) continue
    let at = 0
    while (found[at] === wanted[at]) at++
    const around = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 60), at + 100))
    assert.fail(
      `${what} differ: ${actual.length} of ${expected.length}, at ${index}: ${around(found)} instead of ${around(wanted)}`,
    )
  }
}
