/** Laws about values: kept exactly, or refused by name. There is no third outcome (law L8). */
import assert from 'node:assert/strict'
import type { Value } from '../../core/canonical.ts'
import { type CoreError, PoisonRecordError, SchemaError } from '../../core/error.ts'
import type { TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import type { TextRow } from '../change.ts'
import { column, int, table, text, textOf } from './cells.ts'
import { changes } from './rows.ts'
import type { SinkRun } from './run.ts'
import { insert, remove, rows, stepOf, Story, transaction, update } from './story.ts'
import { assertNames, sinkLaw, type SinkLaw, type Trial } from './trial.ts'
import { keySamples, type TypeSample, typeSamples } from './type-samples.ts'

const exact = sinkLaw(
  {
    id: 'types-exact',
    title: 'keeps every value of every column type exactly, or refuses it with the names of table and column',
  },
  async (trial) => {
    const grid = await Grid.open(trial, typeSamples, false)
    await grid.store(({ values }, row) => values[row % values.length]!)
    const extremes = Math.max(...typeSamples.map((sample) => sample.extremes.length))
    await grid.store((sample, row, safe) => sample.extremes[row] ?? safe, extremes)
    await grid.expect()
  },
)

const nullable = sinkLaw(
  {
    id: 'types-nullable',
    title: 'keeps NULL and every ordinary value of every column type in columns that may be NULL',
  },
  async (trial) => {
    const grid = await Grid.open(trial, typeSamples, true)
    await grid.store(() => null, 1)
    await grid.store(({ values }, row) => (row % 3 === 2 ? null : values[row % values.length]!))
    await grid.expect()
  },
)

const asKey = sinkLaw(
  {
    id: 'types-as-key',
    title: 'tells rows apart by keys of every type that can be one, or refuses the table by name',
  },
  async (trial) => {
    for (const [index, sample] of keySamples.entries()) await tellsApart(trial, sample, `keys${index}`)
  },
)

/** A table with a column per type. A refused type leaves it, a refused value is written down and replaced. */
class Grid {
  readonly #trial: Trial
  readonly #schema: TableSchema
  /** By column. */
  readonly #samples: ReadonlyMap<string, TypeSample>
  readonly #expected: TextRow[] = []
  /** `column value`, of values that were refused. */
  readonly #refused = new Set<string>()
  #run: SinkRun
  #step = 0

  private constructor(
    trial: Trial,
    run: SinkRun,
    schema: TableSchema,
    samples: ReadonlyMap<string, TypeSample>,
  ) {
    this.#trial = trial
    this.#run = run
    this.#schema = schema
    this.#samples = samples
  }

  static async open(trial: Trial, samples: readonly TypeSample[], isNullable: boolean): Promise<Grid> {
    const found = new Map<string, TypeSample>(
      samples.map((sample, index) => [`c${String(index).padStart(3, '0')}`, sample] as const),
    )
    for (;;) {
      const schema = table(`types${found.size}`, [
        column('id', 'id', int(32)),
        ...[...found].map(([name, { type }]) => column(name, name, type, isNullable)),
      ])
      const run = await trial.connect()
      try {
        await run.createTable(schema)
        return new Grid(trial, run, schema, found)
      } catch (error) {
        assert(error instanceof SchemaError, `a table with all types failed with ${String(error)}`)
        found.delete(namedColumn(error, schema, [...found.keys()]))
        await run.end()
      }
    }
  }

  /** Writes rows: all at once, or one by one when something in them is refused. */
  async store(
    valueOf: (sample: TypeSample, row: number, safe: Value) => Value,
    count = Math.max(...[...this.#samples.values()].map(({ values }) => values.length)),
  ): Promise<void> {
    const made = Array.from({ length: count }, (_, row): ValueRow => {
      const cells = [...this.#samples].map(([name, sample]) => [name, valueOf(sample, row, this.#safe(name))])
      return { ...Object.fromEntries(cells), id: this.#expected.length + row }
    })
    try {
      await this.#store(made)
      for (const row of made) this.#keep(row)
    } catch (error) {
      this.#requirePoison(error)
      for (const row of made) await this.#storeOne(row)
    }
  }

  expect(): Promise<void> {
    return this.#trial.expectRows(this.#schema, this.#expected, 'after all values were written')
  }

  async #storeOne(row: ValueRow): Promise<void> {
    const replaced = new Set<string>()
    for (let kept = row; ;) {
      await this.#run.end()
      this.#run = await this.#trial.start([this.#schema])
      try {
        await this.#store([kept])
        this.#keep(kept)
        return
      } catch (error) {
        this.#requirePoison(error)
        const name = namedColumn(error, this.#schema, [...this.#samples.keys()])
        const what = `column ${name} (${this.#samples.get(name)!.name})`
        assert(
          !replaced.has(name),
          `${what} was refused, and again after its value was replaced: ${error.message}`,
        )
        this.#noteRefusal(error, name, kept[name])
        replaced.add(name)
        kept = { ...kept, [name]: this.#safe(name) }
      }
    }
  }

  #noteRefusal(error: PoisonRecordError, name: string, value: Value): void {
    const words = textOf(this.#samples.get(name)!.type, value)
    assert(words !== null, `NULL was refused in column ${name} (${this.#samples.get(name)!.name})`)
    const isTelling = words.length >= 8 && /\d/.test(words)
    assert(
      !isTelling || !error.message.includes(words),
      `a message holds the value that was refused: ${error.message}`,
    )
    this.#refused.add(`${name} ${words}`)
  }

  /** A value of the column that was not refused so far. */
  #safe(name: string): Value {
    const { type, values, name: typeName } = this.#samples.get(name)!
    const found = values.find((value) => !this.#refused.has(`${name} ${textOf(type, value)}`))
    assert(
      found !== undefined,
      `every value of type ${typeName} was refused, and not the table with the column`,
    )
    return found
  }

  #requirePoison(error: unknown): asserts error is PoisonRecordError {
    assert(error instanceof PoisonRecordError, `a value was refused with ${String(error)}`)
  }

  async #store(made: readonly ValueRow[]): Promise<void> {
    this.#step++
    await this.#run.store(transaction(this.#step, ...made.map((row) => insert(this.#schema, row))))
  }

  #keep(row: ValueRow): void {
    const cells = this.#schema.columns.map(({ name, type }) => [name, textOf(type, row[name])])
    this.#expected.push(Object.fromEntries(cells) as TextRow)
  }
}

/** The one column of these that a refusal names. */
function namedColumn(error: CoreError, schema: TableSchema, columns: readonly string[]): string {
  const named = columns.filter((name) => error.message.includes(name))
  assert.equal(named.length, 1, `a refusal names ${named.length} columns instead of one: ${error.message}`)
  assertNames(error, schema, named[0]!)
  return named[0]!
}

async function tellsApart(
  trial: Trial,
  { type, values, name }: TypeSample,
  tableName: string,
): Promise<void> {
  const schema = table(tableName, [column('1', 'the_key', type), column('2', 'note', text)])
  const row = (value: Value, note: string): ValueRow => ({ the_key: value, note: `${trial.mark} ${note}` })
  const refused = (error: unknown): boolean => {
    assert(
      error instanceof SchemaError || error instanceof PoisonRecordError,
      `a key of type ${name} failed with ${String(error)}`,
    )
    assertNames(error, schema, 'the_key')
    return true
  }
  // From the beginning, whatever the sink has of the types before.
  const begin = async (): Promise<SinkRun> => {
    const run = await trial.start([schema])
    if (stepOf(run.held) > 0) await run.rewind(0)
    return run
  }
  let kept = values
  try {
    const run = await begin()
    await run.store(
      transaction(1, ...values.map((value, index) => insert(schema, row(value, String(index))))),
    )
    await run.end()
  } catch (error) {
    refused(error)
    if (error instanceof SchemaError) return
    kept = []
    for (const [index, value] of values.entries()) {
      const run = await begin()
      const stored = run.store(transaction(1, insert(schema, row(value, String(index)))))
      if (
        await stored.then(
          () => true,
          (failure: unknown) => !refused(failure),
        )
      )
        kept = [...kept, value]
      await run.end()
    }
    assert(kept.length > 0, `every key of type ${name} was refused, and not the table`)
  }
  const story = new Story(
    [schema],
    [
      rows(...kept.map((value) => insert(schema, row(value, String(values.indexOf(value)))))),
      ...(changes(trial.capabilities)
        ? [
            rows(
              ...kept
                .slice(1)
                .map((value, index) =>
                  index % 2 === 0
                    ? update(schema, row(value, 'changed'))
                    : remove(schema, { the_key: value }),
                ),
            ),
          ]
        : []),
    ],
  )
  await trial.playThrough(story, 1)
  await trial.expect(story, `with keys of type ${name}`)
}

export const typeLaws: readonly SinkLaw[] = [exact, nullable, asKey]
