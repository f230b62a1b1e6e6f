import * as fc from 'fast-check'
import { Model } from './model.ts'
import { describeStatement, type Statement } from './statement.ts'
import { anyWish, fulfil, tableWish, type Wish } from './wish.ts'

/** What may go wrong while a process runs. */
export type Trouble =
  /** Calls to one of the sinks fail; with `applied` they have had their effect, and only the answer is lost. */
  | {
      readonly trouble: 'sink fails'
      readonly sink: number
      readonly times: number
      readonly applied: boolean
    }
  | { readonly trouble: 'source disconnects' }

/** How a process ends. With `applied` the call that it dies in has its effect, and only the answer is lost. */
export type End = { readonly end: 'killed'; readonly applied: boolean } | { readonly end: 'stopped' }

/** So many calls of the process to the outside pass first; fewer when it has nothing more to do. */
interface Timed {
  readonly after: number
}

/** Several statements that count together, or not at all. `undone` is rolled back to a savepoint. */
interface Transaction<Statement> {
  readonly statements: readonly (Statement | { readonly undone: readonly Statement[] })[]
  readonly rollback: boolean
}

type Happening<Statement> = Transaction<Statement> | Trouble

interface Life<Statement> {
  readonly happenings: readonly (Timed & Happening<Statement>)[]
  readonly end: Timed & End
}

interface Course<Statement> {
  /** Before the first start. */
  readonly before: readonly Transaction<Statement>[]
  /** One process after the other; what is left of a life's transactions when it ends happens while nothing runs. */
  readonly lives: readonly Life<Statement>[]
}

export type ScriptedTransaction = Transaction<Statement>
export type ScriptedLife = Life<Statement>

/** Whether a pair of source and sink knows this statement. */
export type Knows = (statement: Statement) => boolean

/**
 * What happens to a database and to the pipeline that reads it. Every wish that cannot be fulfilled where it stands is
 * left out, so that any part of a history is a history.
 */
export class History implements Course<Statement> {
  readonly before: readonly ScriptedTransaction[]
  readonly lives: readonly ScriptedLife[]
  /** What the database holds at the end. */
  readonly model = new Model()
  /** Tables that existed at some time. */
  readonly everMade = new Set<string>()

  constructor(course: Course<Wish>, knows: Knows) {
    this.before = course.before.flatMap((transaction) => this.#script(transaction, knows))
    this.lives = course.lives.map(({ happenings, end }) => ({
      happenings: happenings.flatMap((happening): readonly (Timed & Happening<Statement>)[] => {
        if ('trouble' in happening) return [happening]
        return this.#script(happening, knows).map((it) => ({ after: happening.after, ...it }))
      }),
      end,
    }))
  }

  /** All transactions in order. */
  get transactions(): readonly ScriptedTransaction[] {
    const happenings = this.lives.flatMap((life) => life.happenings)
    return [...this.before, ...happenings.filter((happening) => 'statements' in happening)]
  }

  /** Statements, troubles and ends of processes. */
  get length(): number {
    const statements = this.transactions.flatMap((transaction) => transaction.statements)
    const troubles = this.lives.flatMap((life) => life.happenings.filter((it) => 'trouble' in it))
    return statements.length + troubles.length + this.lives.length
  }

  toString(): string {
    const lines = this.before.flatMap(describeTransaction)
    for (const { happenings, end } of this.lives) {
      lines.push('start')
      for (const happening of happenings)
        lines.push(
          ...('trouble' in happening ? [describeTrouble(happening)] : describeTransaction(happening)).map(
            (line, index) => (index === 0 ? `${calls(happening)}${line}` : line),
          ),
        )
      lines.push(
        `${calls(end)}${end.end}${end.end === 'killed' && end.applied ? ', the answer is lost' : ''}`,
      )
    }
    return [...lines, 'start, until all is read'].join('\n')
  }

  /** For fast-check's own messages. */
  [fc.toStringMethod](): string {
    return this.toString()
  }

  /** Leaves out what cannot be done; nothing is left of a transaction that does nothing. */
  #script(transaction: Transaction<Wish>, knows: Knows): readonly ScriptedTransaction[] {
    const model = this.model.copy()
    const made: string[] = []
    const fulfilled = (wish: Wish, on: Model): readonly Statement[] => {
      const statement = fulfil(wish, on)
      if (statement === null || !knows(statement)) return []
      on.apply(statement)
      if (statement.does === 'create table') made.push(statement.table)
      return [statement]
    }
    const statements = transaction.statements.flatMap((item): ScriptedTransaction['statements'] => {
      if (!('undone' in item)) return fulfilled(item, model)
      const undone = model.copy()
      const tried = item.undone.flatMap((wish) => fulfilled(wish, undone))
      return tried.length === 0 ? [] : [{ undone: tried }]
    })
    if (statements.length === 0) return []
    if (!transaction.rollback) {
      this.model.become(model)
      for (const table of made) this.everMade.add(table)
    }
    return [{ statements, rollback: transaction.rollback }]
  }
}

function calls({ after }: Timed): string {
  return after === 0 ? '' : `after ${after} calls: `
}

function describeTrouble(trouble: Trouble): string {
  if (trouble.trouble === 'source disconnects') return trouble.trouble
  return `sink ${trouble.sink} fails ${trouble.times} times${trouble.applied ? ', after it has done its work' : ''}`
}

function describeTransaction({ statements, rollback }: ScriptedTransaction): readonly string[] {
  const lines = statements.flatMap((item) =>
    'undone' in item
      ? item.undone.map((it) => `undone: ${describeStatement(it)}`)
      : [describeStatement(item)],
  )
  if (lines.length === 1 && !rollback) return lines
  return [rollback ? 'transaction, rolled back:' : 'transaction:', ...lines.map((line) => `    ${line}`)]
}

const statement = fc.oneof(
  { weight: 12, arbitrary: anyWish },
  { weight: 1, arbitrary: fc.record({ undone: fc.array(anyWish, { minLength: 1, maxLength: 3 }) }) },
)

const transaction: fc.Arbitrary<Transaction<Wish>> = fc.record({
  statements: fc.array(statement, { minLength: 1, maxLength: 6 }),
  rollback: fc.nat(9).map((number) => number === 9),
})

const trouble = (sinks: number): fc.Arbitrary<Trouble> =>
  fc.oneof(
    fc.record({
      trouble: fc.constant('sink fails' as const),
      sink: fc.nat(sinks - 1),
      times: fc.integer({ min: 1, max: 3 }),
      applied: fc.boolean(),
    }),
    fc.record({ trouble: fc.constant('source disconnects' as const) }),
  )

const after = fc.nat(15)

const timed = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<A & Timed> =>
  fc.tuple(after, arbitrary).map(([number, value]) => ({ ...value, after: number }))

const end: fc.Arbitrary<End> = fc.oneof(
  fc.record({ end: fc.constant('stopped' as const) }),
  fc.record({ end: fc.constant('killed' as const), applied: fc.boolean() }),
)

const life = (sinks: number): fc.Arbitrary<Life<Wish>> =>
  fc.record({
    happenings: fc.array(
      fc.oneof(
        { weight: 4, arbitrary: timed<Happening<Wish>>(transaction) },
        { weight: 1, arbitrary: timed<Happening<Wish>>(trouble(sinks)) },
      ),
      { maxLength: 6 },
    ),
    end: timed(end),
  })

/** Random histories for a pipeline with so many sinks. */
export function histories(sinks: number, knows: Knows): fc.Arbitrary<History> {
  const tables = fc.array(tableWish, { minLength: 1, maxLength: 3 })
  return fc
    .record({
      tables: tables.map((statements) => ({ statements, rollback: false })),
      before: fc.array(transaction, { maxLength: 4 }),
      lives: fc.array(life(sinks), { maxLength: 4 }),
    })
    .map(({ tables: made, before, lives }) => new History({ before: [made, ...before], lives }, knows))
}
