/** Laws about single rows: their order, their keys, and the cells that the log left out. */
import assert from 'node:assert/strict'
import { UNCHANGED, type Value } from '../../core/canonical.ts'
import { PoisonRecordError } from '../../core/error.ts'
import type { SinkCapabilities } from '../../core/sink.ts'
import { column, int, table, text } from './cells.ts'
import { copied, insert, remove, rows, type Step, Story, update } from './story.ts'
import { assertNames, sinkLaw, type SinkLaw } from './trial.ts'

const users = table('users', [
  column('1', 'id', int(64)),
  column('2', 'name', text),
  column('3', 'note', text, true),
])
/** The key stands last, and in another order than the columns. */
const seats = table(
  'seats',
  [column('1', 'guest', text, true), column('2', 'seat', int(32)), column('3', 'hall', text)],
  { key: [2, 1] },
)

export const changes = ({ supportsUpsert, supportsDelete }: SinkCapabilities): boolean =>
  supportsUpsert && supportsDelete
export const keepsCells = (capabilities: SinkCapabilities): boolean =>
  changes(capabilities) && capabilities.supportsPartialRows

const inserts = sinkLaw(
  {
    id: 'inserts',
    title: 'holds every inserted row once, of the first copy and of the stream, NULL as NULL',
  },
  async (trial) => {
    const { mark } = trial
    const row = (id: number, note: string | null) => insert(users, { id, name: `${mark} ${id}`, note })
    const story = new Story(
      [users, seats],
      [
        copied(row(1, null), row(2, mark), row(3, '')),
        copied(insert(seats, { hall: 'b', seat: 1, guest: mark }), row(4, 'NULL')),
        rows(row(-5, null), insert(seats, { hall: 'a', seat: 1, guest: null })),
        rows(insert(seats, { hall: 'a', seat: 2, guest: '' })),
      ],
    )
    await trial.playThrough(story)
    await trial.expect(story, 'after inserts')
  },
)

const orderPerKey = sinkLaw(
  {
    id: 'order-per-key',
    title:
      'applies the changes of one key in the order of the log, within a transaction, a batch and across batches',
    applies: changes,
  },
  async (trial) => {
    const { mark, random } = trial
    // Each key has a life of its own, and all lives are woven into each other.
    const made = (id: number, name: string) => insert(users, { id, name: `${mark} ${name}`, note: null })
    const set = (id: number, name: string) => update(users, { id, name: `${mark} ${name}`, note: null })
    const gone = (id: number) => remove(users, { id })
    const lives = [
      [made(1, 'a'), set(1, 'b'), set(1, 'c')],
      [made(2, 'a'), gone(2)],
      [made(3, 'a'), gone(3), made(3, 'b')],
      [made(4, 'a'), gone(4), made(4, 'b'), gone(4)],
      [made(5, 'a'), gone(5), made(5, 'b'), set(5, 'c'), gone(5), made(5, 'd')],
      [made(6, 'first'), ...Array.from({ length: 30 }, (_, turn) => set(6, String(turn)))],
    ]
    for (const transactions of [1, 4, 1000]) {
      const woven: Step[] = []
      const left = lives.map((life) => [...life])
      while (left.some((life) => life.length > 0)) {
        const next = random.pick(left.filter((life) => life.length > 0)).shift()!
        const last = woven.at(-1)
        if (last?.kind !== 'rows' || random.below(transactions) > 0) woven.push(rows(next))
        else woven.splice(-1, 1, rows(...last.changes, next))
      }
      await using own = await trial.again()
      const story = new Story([users], woven)
      const run = await own.start(story.tables)
      await run.play(story, 0, transactions === 4 ? { random, flushes: 0.2 } : {})
      await run.flush()
      await own.expect(story, `after ${woven.length} transactions of the same keys`)
    }
  },
)

const keyChange = sinkLaw(
  {
    id: 'key-change',
    title:
      'moves the row when its key changes, given the old key or the complete old row, and swaps two keys',
    applies: changes,
  },
  async (trial) => {
    const { mark } = trial
    const row = (id: number, name = `${mark} ${id}`) => ({ id, name, note: mark })
    const seat = (hall: string, number: number, guest: string) => ({
      hall,
      seat: number,
      guest: `${mark} ${guest}`,
    })
    const story = new Story(
      [users, seats],
      [
        rows(...[1, 2, 3, 4, 5, 6].map((id) => insert(users, row(id)))),
        rows(insert(seats, seat('a', 1, 'x')), insert(seats, seat('a', 2, 'y'))),
        rows(update(users, row(11), { id: 1 }), update(users, row(12, mark), row(2))),
        // What the old key was is free again, and taken at once.
        rows(insert(users, row(1, `${mark} new`)), update(users, row(21), { id: 11 })),
        // A chain and a ring of three.
        rows(
          update(users, row(7, `${mark} 3`), { id: 3 }),
          update(users, row(3, `${mark} 4`), { id: 4 }),
          update(users, row(4, `${mark} 5`), { id: 5 }),
          update(users, row(5, `${mark} 3`), { id: 7 }),
        ),
        rows(
          update(seats, seat('b', 9, 'x'), { hall: 'a', seat: 1 }),
          update(seats, seat('a', 1, 'y'), seat('a', 2, 'y')),
          update(seats, seat('a', 2, 'x'), { hall: 'b', seat: 9 }),
        ),
        rows(update(users, row(8, `${mark} 6`), row(6)), remove(users, { id: 8 })),
        // An old row in the log does not mean that the key changed.
        rows(update(users, row(12, `${mark} same`), row(12, mark)), update(users, row(21, mark), { id: 21 })),
      ],
    )
    await trial.playThrough(story)
    await trial.expect(story, 'after changes of keys, a transaction per batch')
    await using own = await trial.again()
    const run = await own.start(story.tables)
    await run.play(story, 0, { random: trial.random })
    await run.flush()
    await own.expect(story, 'after changes of keys in large batches')
  },
)

const unchangedKept = sinkLaw(
  {
    id: 'unchanged-kept',
    title:
      'keeps the stored value of an unchanged cell: in one batch, in the next, after a restart, through a key change',
    applies: keepsCells,
  },
  async (trial) => {
    const { mark, random } = trial
    const large = `${mark} é"\\\n`.repeat(20_000)
    const keep: Readonly<Record<string, Value>> = { name: UNCHANGED, note: UNCHANGED }
    const story = new Story(
      [users, seats],
      [
        rows(
          insert(users, { id: 1, name: large, note: null }),
          update(users, { id: 1, name: UNCHANGED, note: mark }),
          insert(users, { id: 2, name: mark, note: mark }),
          insert(users, { id: 3, name: large, note: '' }),
          insert(seats, { hall: 'a', seat: 1, guest: mark }),
        ),
        rows(update(users, { id: 1, name: UNCHANGED, note: null }), update(users, { id: 2, ...keep })),
        rows(
          update(users, { id: 12, ...keep }, { id: 2 }),
          update(users, { id: 3, name: UNCHANGED, note: mark }),
          update(seats, { hall: 'b', seat: 1, guest: UNCHANGED }, { hall: 'a', seat: 1 }),
        ),
        rows(update(users, { id: 13, name: UNCHANGED, note: null }, { id: 3 })),
        // The old row in the log has the value, so nothing stored is needed.
        rows(update(users, { id: 1, name: UNCHANGED, note: 'n' }, { id: 1, name: large, note: null })),
        rows(
          update(users, { id: 1, ...keep }),
          update(users, { id: 12, name: `${mark} 12`, note: UNCHANGED }),
          update(users, { id: 13, name: UNCHANGED, note: 'last' }),
        ),
      ],
    )
    for (const restart of [1, 2 + random.below(story.length - 2)]) {
      await using own = await trial.again()
      const run = await own.start(story.tables)
      await run.play(story, 0, { to: restart })
      await run.flush()
      await run.end()
      await own.playThrough(story, restart)
      await own.expect(story, `after a restart behind step ${restart}`)
    }
    const run = await trial.start(story.tables)
    await run.play(story, 0, { random, flushes: 0.3 })
    await run.flush()
    await trial.expect(story, 'in batches of several transactions')
  },
)

const threeStates = sinkLaw(
  {
    id: 'absent-null-unchanged',
    title:
      'tells absent, NULL and unchanged cells apart: an absent one is refused by name or left out, and never NULL',
  },
  async (trial) => {
    const { mark, capabilities } = trial
    const first = new Story([users], [rows(insert(users, { id: 1, name: mark, note: mark }))])
    await trial.playThrough(first)
    if (changes(capabilities)) {
      const nulled = new Story(
        [users],
        [...first.steps, rows(update(users, { id: 1, name: mark, note: null }))],
      )
      await trial.playThrough(nulled)
      await trial.expect(nulled, 'after an update to NULL')
    }
    const absent = new Story([users], [rows(insert(users, { id: 2, name: mark }))])
    const run = await trial.startAt(absent, 0)
    try {
      await run.play(absent, 0)
      await run.flush()
    } catch (error) {
      assert(error instanceof PoisonRecordError, `a row without a cell failed with ${String(error)}`)
      assertNames(error, users, 'note')
    }
    await run.end()
    const shown = (await trial.bench.rows(users)).find((row) => row['id'] === '2')
    assert(shown?.['note'] === undefined, 'a cell that the row did not have is shown with a value or as NULL')
    if (!keepsCells(capabilities)) return
    // No row to take the value from: an error, or a cell that is not known; never NULL.
    const unknown = new Story([users], [rows(update(users, { id: 3, name: mark, note: UNCHANGED }))])
    const orphan = await trial.startAt(unknown, 0)
    try {
      await orphan.play(unknown, 0)
      await orphan.flush()
    } catch (error) {
      assert(error instanceof PoisonRecordError, `an update without its row failed with ${String(error)}`)
      assertNames(error, users, null)
    }
    await orphan.end()
    const made = (await trial.bench.rows(users)).find((row) => row['id'] === '3')
    assert(
      made?.['note'] === undefined,
      'an unchanged cell that nobody knows is shown with a value or as NULL',
    )
  },
)

export const rowLaws: readonly SinkLaw[] = [inserts, orderPerKey, keyChange, unchangedKept, threeStates]
