/** What follows a snapshot: transactions, schema changes and filters, whoever reads them and however slowly. */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ChangeLog } from '../../src/connectors/sinks/zero/change-log.ts'
import { packItems } from '../../src/connectors/sinks/zero/chunk-items.ts'
import type { Request } from '../../src/connectors/sinks/zero/log-messages.ts'
import type { TableVersion } from '../../src/connectors/sinks/zero/table-version.ts'
import { UNCHANGED } from '../../src/core/canonical.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import type { Column, TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../src/core/value-batch.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { column, int, table, text } from '../support/memory-pipeline.ts'
import { type Random, seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroModel } from '../support/zero-model.ts'
import { place, ZeroSinkRun } from '../support/zero-sink-run.ts'
import type { ZeroSubscriber } from '../support/zero-subscriber.ts'

const MB = 1024 * 1024
const HANDOVERS = Number(process.env['SLUICE_HANDOVER_ROUNDS'] ?? 2)
const users = table('users')

let run: ZeroSinkRun

afterEach(async () => {
  vi.restoreAllMocks()
  await run?.[Symbol.asyncDispose]()
})

const user = (id: number, name = `user ${id}`): ValueRow => ({ id, name, note: null })

function after(
  lastWatermark: string,
  replicaVersion = lastWatermark,
): { lastWatermark: string; replicaVersion: string } {
  return { lastWatermark, replicaVersion }
}

function modelOf(subscriber: ZeroSubscriber): ZeroModel {
  const model = new ZeroModel()
  model.follow(subscriber.transactions)
  return model
}

describe('transactions (ZE-5)', () => {
  const accounts: TableSchema = {
    ...table('accounts'),
    columns: [column('id', int), column('balance', int), column('note', text)],
  }
  /** Row 0 tells which transaction was the last one. */
  const MARKER = 0

  /** Money that changes hands: what half a transaction would show adds up to another sum. */
  class Bank {
    readonly #random: Random
    readonly rows = new Map<number, { balance: number; note: string }>()
    /** What is there after each transaction. */
    readonly states: string[] = []
    #nextId = 1

    constructor(random: Random) {
      this.#random = random
      this.rows.set(MARKER, { balance: 0, note: '' })
      for (; this.#nextId <= 40; this.#nextId++) this.rows.set(this.#nextId, { balance: 100, note: 'a' })
      this.states.push(this.digest())
    }

    digest(): string {
      return digestOf([...this.rows].map(([id, row]) => ({ id, ...row })))
    }

    /** Writes one transaction, `cut` after each row. */
    write(rows: ValueBatchBuilder, steps: number, noteLength: number, cut: () => void): void {
      const random = this.#random
      for (let step = 0; step < steps; step++) {
        const ids = [...this.rows.keys()].filter((id) => id !== MARKER)
        const from = random.pick(ids)
        const amount = random.below(10)
        this.#set(rows, from, this.rows.get(from)!.balance - amount)
        cut()
        const chance = random.below(10)
        if (chance === 0) {
          // To a new account, or to one of the same number as before.
          const id = random.chance(0.5) ? this.#nextId++ : from
          const before = this.rows.get(id)?.balance ?? 0
          if (id === from) rows.delete(accounts, { id })
          cut()
          this.rows.set(id, { balance: before + amount, note: 'new' })
          rows.insert(accounts, { id, ...this.rows.get(id)! })
        } else if (chance === 1) {
          const id = this.#nextId++
          const row = this.rows.get(from)!
          this.rows.delete(from)
          this.rows.set(id, { ...row, balance: row.balance + amount })
          rows.update(accounts, { id, balance: row.balance + amount, note: UNCHANGED }, { id: from })
        } else {
          const to = random.pick(ids)
          const note = random.chance(0.5) ? String(random.below(1000)).repeat(noteLength / 3) : null
          this.#set(rows, to, this.rows.get(to)!.balance + amount, note)
        }
        cut()
      }
      this.rows.set(MARKER, { balance: this.states.length, note: '' })
      rows.update(accounts, { id: MARKER, balance: this.states.length, note: '' })
      this.states.push(this.digest())
    }

    #set(rows: ValueBatchBuilder, id: number, balance: number, note: string | null = null): void {
      this.rows.set(id, { balance, note: note ?? this.rows.get(id)!.note })
      rows.update(accounts, { id, balance, note: note ?? UNCHANGED })
    }
  }

  /** A subscriber that looks at every state that it is in. */
  class Auditor {
    readonly #bank: Bank
    readonly model = new ZeroModel()
    last = -1
    seen = 0

    constructor(bank: Bank) {
      this.#bank = bank
    }

    follow(subscriber: ZeroSubscriber): boolean {
      for (const transaction of subscriber.transactions) {
        if (transaction.watermark <= this.model.watermark) continue
        this.model.apply(transaction)
        const rows = this.model.rows('accounts')
        const number = Number(rows.find(({ id }) => id === MARKER)!['balance'])
        if (number < this.last) throw new Error(`transaction ${number} comes after ${this.last}`)
        if (digestOf(rows) !== this.#bank.states[number])
          throw new Error(`what is there after ${number} never was`)
        this.last = number
        this.seen++
      }
      return this.last === this.#bank.states.length - 1
    }
  }

  function digestOf(rows: readonly Readonly<Record<string, unknown>>[]): string {
    const hash = createHash('sha1')
    for (const { id, balance, note } of rows.toSorted((a, b) => Number(a['id']) - Number(b['id'])))
      hash.update(`${String(id)} ${String(balance)} ${String(note)}\n`)
    return hash.digest('hex')
  }

  it('of any size arrive whole and in order, in whatever batches they come and whoever is late', async () => {
    const random = seeded('transactions of the Zero sink')
    const bank = new Bank(random)
    run = await ZeroSinkRun.start([accounts])
    await run.copy(
      accounts,
      [...bank.rows].map(([id, row]) => ({ id, ...row })),
    )
    const [first, live] = await run.follow()
    const prompt = new Auditor(bank)
    prompt.follow(first)
    const [second] = await run.follow()
    const roaming = new Auditor(bank)
    roaming.follow(second)
    let roamer = await run.subscribe({ after: after(second.watermark!) })
    const builder = new ValueBatchBuilder('stream')
    const batches: RecordBatch[] = []
    for (let number = 0; number < 250; number++) {
      run.order++
      builder.begin({ id: String(run.order), commitTimeMs: null, version: BigInt(run.order) << 16n })
      const isLarge = number % 60 === 30
      const take = (chance: number): void => {
        if (random.chance(chance)) batches.push(...[builder.take()].filter((batch) => batch !== null))
      }
      bank.write(builder, isLarge ? 300 : 1 + random.below(12), isLarge ? 45_000 : 60, () =>
        take(isLarge ? 0.05 : 0.1),
      )
      builder.commit(place(run.order))
      take(0.3)
      for (const batch of batches.splice(0)) await run.accept(batch)
      if (random.chance(0.1)) await run.flush()
      if (random.chance(0.05)) {
        roaming.follow(roamer)
        await roamer[Symbol.asyncDispose]()
        roaming.follow(roamer)
        roamer = await run.subscribe({ after: after(roaming.model.watermark, second.watermark!) })
      }
    }
    const rest = builder.take()
    if (rest !== null) await run.accept(rest)
    await run.flush()
    const late = new Auditor(bank)
    late.follow(first)
    const lateOne = await run.subscribe({ after: after(first.watermark!) })
    await live.until('the prompt one has everything', () => prompt.follow(live), 60_000)
    await roamer.until('the one that comes and goes has everything', () => roaming.follow(roamer), 60_000)
    await lateOne.until('the late one has everything', () => late.follow(lateOne), 60_000)
    // Several that wait become one; they were more than a handful.
    expect(prompt.seen).toBeGreaterThan(5)
    console.log(`250 transactions came as ${prompt.seen}, ${roaming.seen} and ${late.seen}`)
    expect(digestOf(modelOf(await snapshotOf()).rows('accounts'))).toBe(bank.digest())
  })

  it('of 8 MB in one row and in many come as one', async () => {
    run = await ZeroSinkRun.start([users])
    await run.copy(users, [])
    const [snapshot, live] = await run.follow()
    const model = modelOf(snapshot)
    await run.commit((rows) => rows.insert(users, { id: 1, name: 'one', note: 'x'.repeat(8 * MB) }))
    await run.commit((rows) => {
      for (let id = 2; id < 82; id++) rows.insert(users, { id, name: 'many', note: 'x'.repeat(MB / 10) })
    })
    await live.until('both', () => live.transactions.length === 2)
    model.follow(live.transactions)
    expect(live.transactions.map(({ changes }) => changes.length)).toEqual([1, 80])
    expect(model.rows('users').map(({ note }) => String(note).length)).toEqual([
      8 * MB,
      ...Array.from({ length: 80 }, () => (MB / 10) | 0),
    ])
  })
})

describe('the hand-over from the snapshot (ZE-2)', () => {
  it(
    `lacks nothing of 10,000 writes meanwhile, ${HANDOVERS} times`,
    { timeout: 60_000 * HANDOVERS },
    async () => {
      const random = seeded('hand-over of the Zero sink')
      run = await ZeroSinkRun.start([users])
      const expected = new Map<number, string>()
      for (let id = 0; id < 3000; id++) expected.set(id, 'first')
      await run.copy(
        users,
        [...expected].map(([id, name]) => ({ id, name, note: 'x'.repeat(500) })),
      )
      for (let round = 0; round < HANDOVERS; round++) {
        let written = 0
        const writing = (async () => {
          while (written < 10_000) {
            await run.accept(
              run.transaction((rows) => {
                for (let count = 0; count < 3; count++) write(rows, random, expected, `${round}/${written}`)
              }),
            )
            written++
            // Others get their turn, as between answers of a source.
            if (written % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
          }
          await run.flush()
        })()
        const start = random.below(5000)
        await waitFor('some are written', () => written >= start)
        const first = await run.subscribe()
        if (round % 2 === 0) {
          // The snapshot is still on its way when all is written.
          first.pause()
          await waitFor('more are written', () => written >= Math.min(10_000, start + 3000), 60_000)
          first.resume()
        }
        await first.until('the snapshot is there', () => first.transactions.length > 0, 60_000)
        const model = modelOf(first)
        const live = await run.subscribe({ after: after(first.watermark!) })
        await writing
        const wanted = JSON.stringify([...expected].toSorted(([a], [b]) => a - b))
        await live.until(
          'both are equal',
          () => {
            model.follow(live.transactions)
            return JSON.stringify(model.rows('users').map(({ id, name }) => [id, name])) === wanted
          },
          60_000,
        )
        expect(first.watermark! < live.watermark! || start >= 10_000).toBe(true)
        await live[Symbol.asyncDispose]()
      }
    },
  )

  function write(rows: ValueBatchBuilder, random: Random, expected: Map<number, string>, name: string): void {
    const id = random.below(4000)
    if (!expected.has(id)) rows.insert(users, { id, name, note: 'x'.repeat(500) })
    else if (random.chance(0.2)) {
      expected.delete(id)
      return rows.delete(users, { id })
    } else rows.update(users, { id, name, note: UNCHANGED })
    expected.set(id, name)
  }

  it('waits when a copy begins between the question and the snapshot', async () => {
    const orders = table('orders')
    run = await ZeroSinkRun.start([users, orders])
    await run.copy(users, [user(1)])
    const request = ChangeLog.prototype.request
    let meddled = false
    let meddling: Promise<unknown> = Promise.resolve()
    vi.spyOn(ChangeLog.prototype, 'request').mockImplementation(function (this: ChangeLog, asked: Request) {
      const answer = request.call(this, asked)
      if (asked.kind !== 'bump' || meddled) return answer
      meddled = true
      // The thread that writes does all of this before its first answer is read.
      const before = versionOf(run.path, 'public.users')
      const slot = {
        id: 'later',
        name: 'later',
        dataType: 'text',
        notNull: false,
        encoding: 'string',
        missing: null,
      } as const
      const others = [
        {
          kind: 'change',
          change: { kind: 'copy', source: 'public.orders', version: versionOf(run.path, 'public.orders') },
          forget: false,
        },
        {
          kind: 'change',
          change: {
            kind: 'evolve',
            source: 'public.users',
            version: { ...before, slots: [...before.slots, slot] },
            steps: [{ kind: 'add-column', slot: before.slots.length }],
            fill: false,
          },
          forget: false,
        },
        {
          kind: 'apply',
          chunk: {
            buffer: new Uint8Array(0),
            items: packItems([
              {
                end: 0,
                origin: 'stream',
                commit: { timeMs: null, order: place(50, true).order, partial: true },
              },
            ]),
            position: this.positions.write(place(50, true)),
          },
        },
      ] as const satisfies readonly Request[]
      const all = others.map((one) => request.call(this, one))
      const deadline = performance.now() + 20_000
      while (!isWaiting(run.path) && performance.now() < deadline);
      meddling = Promise.all(all)
      return answer
    })
    const subscriber = await run.subscribe()
    await waitFor('the copy has begun', () => isWaiting(run.path))
    await meddling
    await ping(subscriber)
    expect(subscriber.transactions).toEqual([])
    await run.heartbeat(false, 60)
    await subscriber.until('the snapshot is there', () => subscriber.transactions.length === 1)
    const model = modelOf(subscriber)
    expect(model.tables).toContain('orders')
    expect(model.columns('users')).toEqual(['id int4', 'name text', 'note text', 'later text'])
    const live = await run.subscribe({ after: after(subscriber.watermark!) })
    await ping(live)
    expect(live.transactions).toEqual([])
  })

  function versionOf(path: string, source: string): TableVersion {
    const db = new DatabaseSync(path, { readOnly: true })
    try {
      const rows = db.prepare('SELECT body FROM versions').all() as { body: string }[]
      return rows.map(({ body }) => JSON.parse(body) as TableVersion).find((one) => one.source === source)!
    } finally {
      db.close()
    }
  }

  function isWaiting(path: string): boolean {
    const db = new DatabaseSync(path, { readOnly: true })
    try {
      const { value } = db.prepare(`SELECT value FROM meta WHERE name = 'state'`).get() as { value: string }
      return (JSON.parse(value) as { waiting: boolean }).waiting
    } finally {
      db.close()
    }
  }
})

describe('schema changes', () => {
  const added = (name: string, type: ColumnType, addedDefault: string | null = null): Column => ({
    ...column(name, type),
    addedDefault,
  })
  const plain = ({ id, name, type, nullable, native }: Column): Column => ({
    id,
    name,
    type,
    nullable,
    native,
  })
  const without = (schema: TableSchema, name: string): TableSchema => ({
    ...schema,
    columns: schema.columns.filter((one) => one.name !== name),
  })

  it('of every kind come in order; one that resumes from before reads old rows as they were then', async () => {
    run = await ZeroSinkRun.start([users])
    await run.copy(users, [user(1), user(2)])
    const [snapshot, live] = await run.follow()
    const resumable: string[] = [snapshot.watermark!]
    const model = modelOf(snapshot)
    let schema: TableSchema = users

    async function step(what: string, columns: readonly string[]): Promise<void> {
      const before = model.watermark
      await run.commit((rows) => {
        const row: ValueRow = Object.fromEntries(
          schema.columns.map(({ name, type }) => [name, type.kind === 'int' ? run.order : `${what} ${name}`]),
        )
        rows.insert(schema, { ...row, id: 100 + run.order })
        const { name } = schema.columns.find(({ type }) => type.kind === 'text')!
        rows.update(schema, { ...unchanged(schema), id: 2, [name]: what })
      })
      await live.until(what, () => {
        model.follow(live.transactions)
        return model.rows('users').some((row) => Object.values(row).includes(what))
      })
      expect(model.columns('users'), what).toEqual(columns)
      expect(model.watermark > before).toBe(true)
      resumable.push(model.watermark)
    }

    async function alter(change: Parameters<ZeroSinkRun['change']>[1], next: TableSchema): Promise<void> {
      await run.change(schema, change, next)
      schema = { ...next, columns: next.columns.map(plain) }
    }

    await step('nothing', ['id int4', 'name text', 'note text'])
    const score = added('score', int, '7')
    await alter({ kind: 'add-column', column: score }, { ...schema, columns: [...schema.columns, score] })
    await step('a column with a default', ['id int4', 'name text', 'note text', 'score int4'])
    expect(
      model
        .rows('users')
        .slice(0, 2)
        .map((row) => row['score']),
    ).toEqual([7, 7])
    const city = added('city', text, "it's")
    await alter({ kind: 'add-column', column: city }, { ...schema, columns: [...schema.columns, city] })
    await step('a text with a default', ['id int4', 'name text', 'note text', 'score int4', 'city text'])
    expect(model.rows('users')[0]!['city']).toBe("it's")
    const bare = added('bare', text)
    await alter({ kind: 'add-column', column: bare }, { ...schema, columns: [...schema.columns, bare] })
    await step('a column without one', [
      'id int4',
      'name text',
      'note text',
      'score int4',
      'city text',
      'bare text',
    ])

    const name = schema.columns.find((one) => one.name === 'name')!
    const title = { ...name, name: 'title' }
    await alter(
      { kind: 'rename-column', from: name, to: title },
      { ...schema, columns: schema.columns.map((one) => (one === name ? title : one)) },
    )
    await step('another name', ['id int4', 'title text', 'note text', 'score int4', 'city text', 'bare text'])

    const note = schema.columns.find((one) => one.name === 'note')!
    await alter({ kind: 'drop-column', column: note }, without(schema, 'note'))
    await step('one less', ['id int4', 'title text', 'score int4', 'city text', 'bare text'])
    // The same name again is another column.
    const again = { ...added('note', text), id: 'note-2' }
    await alter({ kind: 'add-column', column: again }, { ...schema, columns: [...schema.columns, again] })
    await step('a name again', ['id int4', 'title text', 'score int4', 'city text', 'bare text', 'note text'])
    expect(model.rows('users')[0]!['note']).toBeNull()

    const from = schema.columns.find((one) => one.name === 'score')!
    const wide = { ...from, type: { kind: 'int', bits: 64, unsigned: false } as const }
    await alter(
      { kind: 'alter-column', from, to: wide },
      { ...schema, columns: schema.columns.map((one) => (one === from ? wide : one)) },
    )
    await run.heartbeat()
    expect(schema.columns.map(({ type }) => type.kind)).toContain('int')
    await live.until('the type', () => {
      model.follow(live.transactions)
      return model.columns('users').includes('score int8')
    })
    await run.commit((rows) => rows.update(schema, { ...unchanged(schema), id: 1, score: 12_345_678_901n }))
    await live.until('a larger number', () => {
      model.follow(live.transactions)
      return model.rows('users')[0]!['score'] === 12_345_678_901
    })
    resumable.push(model.watermark)

    const wideColumn = schema.columns.find((one) => one.name === 'score')!
    const words = { ...wideColumn, type: text }
    await alter(
      { kind: 'alter-column', from: wideColumn, to: words },
      { ...schema, columns: schema.columns.map((one) => (one === wideColumn ? words : one)) },
    )
    // The source copies the table again.
    const rows = model.rows('users').map((row) => ({ ...row, score: String(row['score']) }) as ValueRow)
    await run.copy(schema, rows)
    await live.until('the text', () => {
      model.follow(live.transactions)
      return model.columns('users').includes('score text')
    })
    expect(model.rows('users')).toEqual(rows)
    resumable.push(model.watermark)

    const keyed = {
      ...schema,
      key: [
        schema.columns.findIndex((one) => one.name === 'id'),
        schema.columns.findIndex((one) => one.name === 'title'),
      ],
    }
    await alter({ kind: 'change-key' }, keyed)
    await run.copy(schema, rows)
    await run.commit((all) => all.delete(schema, { id: 1, title: rows[0]!['title']! }))
    await live.until('the key', () => {
      model.follow(live.transactions)
      return model.rows('users').length === rows.length - 1
    })
    resumable.push(model.watermark)

    await run.change(schema, { kind: 'truncate' })
    await run.commit((all) => all.insert(schema, rows[0]!))
    await live.until('a truncate', () => {
      model.follow(live.transactions)
      return model.rows('users').length === 1
    })
    resumable.push(model.watermark)

    // A table that appears, goes, and comes again with other columns.
    const things = table('things')
    await run.sink.createTable(things)
    await run.copy(things, [user(1)])
    await live.until('a new table', () => {
      model.follow(live.transactions)
      return model.tables.includes('things')
    })
    expect(model.rows('things')).toEqual([user(1)])
    resumable.push(model.watermark)
    await run.change(things, { kind: 'drop-table' })
    await run.heartbeat()
    await live.until('it is gone', () => {
      model.follow(live.transactions)
      return !model.tables.includes('things')
    })
    resumable.push(model.watermark)
    const others = { ...things, columns: [column('id', int), { ...column('a', int), id: 'other' }] }
    await run.sink.createTable(others)
    await run.copy(others, [{ id: 9, a: 3 }])
    await live.until('another table of that name', () => {
      model.follow(live.transactions)
      return model.tables.includes('things') && model.rows('things').length === 1
    })
    expect(model.columns('things')).toEqual(['id int4', 'a int4'])

    // Whoever resumes from any of these places ends with the same.
    const end = JSON.stringify([model.rows('users'), model.rows('things')])
    for (const watermark of resumable) {
      const replica = modelOf(snapshot)
      for (const transaction of live.transactions)
        if (transaction.watermark <= watermark) replica.apply(transaction)
      const resumed = await run.subscribe({ after: after(watermark, snapshot.watermark!) })
      await resumed.until('the end', () => {
        replica.follow(resumed.transactions)
        return (
          replica.tables.includes('things') &&
          JSON.stringify([replica.rows('users'), replica.rows('things')]) === end
        )
      })
      await resumed[Symbol.asyncDispose]()
    }
    // And so does whoever begins now, and whoever resumes after a restart.
    const fresh = modelOf(await snapshotOf())
    expect(JSON.stringify([sorted(fresh.rows('users')), fresh.rows('things')])).toBe(
      JSON.stringify([sorted(model.rows('users')), model.rows('things')]),
    )
    await run.stop()
    await run.start([schema, others])
    await run.heartbeat()
    const replica = modelOf(snapshot)
    const resumed = await run.subscribe({ after: after(snapshot.watermark!) })
    await resumed.until('the end', () => {
      replica.follow(resumed.transactions)
      return (
        replica.tables.includes('things') &&
        JSON.stringify([replica.rows('users'), replica.rows('things')]) === end
      )
    })
  })

  function unchanged(schema: TableSchema): ValueRow {
    return Object.fromEntries(schema.columns.map(({ name }) => [name, UNCHANGED]))
  }

  function sorted(rows: readonly Record<string, unknown>[]): unknown {
    return rows.map((row) => Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }
})

describe('a publication with filters', () => {
  const orders: TableSchema = {
    ...table('orders'),
    columns: [column('id', int), column('status', text), column('total', int), column('secret', text)],
  }
  const hidden = table('hidden')
  const publications = {
    open: {
      tables: ['public.orders'],
      columns: { 'public.orders': { exclude: ['secret'] } },
      rows: { 'public.orders': { status: 'open', total: { $gte: 10 } } },
    },
    cheap: {
      tables: ['public.orders'],
      columns: { 'public.orders': ['total'] },
      rows: { 'public.orders': { total: { $lt: 15 } } },
    },
  }
  type Order = { id: number; status: string | null; total: number; secret: string }
  const isOpen = ({ status, total }: Order): boolean => status === 'open' && total >= 10
  const isCheap = ({ total }: Order): boolean => total < 15

  it('lets rows come and go as in the source, whatever happens to them, and shows nothing else', async () => {
    const random = seeded('filters of the Zero sink')
    run = await ZeroSinkRun.start([orders, hidden], { publications })
    const rows = new Map<number, Order>()
    const order = (id: number): Order => ({
      id,
      status: random.pick(['open', 'paid', null]),
      total: random.below(25),
      secret: `hidden cell ${random.below(1000)}`,
    })
    for (let id = 0; id < 30; id++) rows.set(id, order(id))
    await run.beginCopy(hidden)
    await run.copied(hidden, [{ id: 1, name: 'hidden cell', note: null }])
    await run.copy(orders, [...rows.values()])
    const asked = [['open'], ['cheap'], ['open', 'cheap'], []] as const
    const followers: {
      names: readonly string[]
      model: ZeroModel
      snapshot: ZeroSubscriber
      live: ZeroSubscriber
    }[] = []
    for (const names of asked) {
      const [snapshot, live] = await run.follow({ publications: names })
      followers.push({ names, model: modelOf(snapshot), snapshot, live })
    }
    const wanted = (names: readonly string[]): string =>
      JSON.stringify(
        [...rows.values()]
          .toSorted((a, b) => a.id - b.id)
          .filter(
            (row) =>
              names.length === 0 ||
              (names.includes('open') && isOpen(row)) ||
              (names.includes('cheap') && isCheap(row)),
          )
          .map((row) =>
            names.length === 0
              ? row
              : names.includes('open')
                ? { id: row.id, status: row.status, total: row.total }
                : { id: row.id, total: row.total },
          ),
      )
    const settled = async (): Promise<void> => {
      for (const { names, model, live } of followers)
        await live.until(`the rows of ${names.join(' and ')}`, () => {
          model.follow(live.transactions)
          return JSON.stringify(model.rows('orders')) === wanted(names)
        })
    }
    await settled()
    for (let round = 0; round < 40; round++) {
      await run.commit((batch) => {
        for (let count = 0; count < 8; count++) {
          const id = random.below(40)
          const row = rows.get(id)
          const chance = random.below(10)
          if (row === undefined) {
            rows.set(id, order(id))
            batch.insert(orders, rows.get(id)!)
          } else if (chance < 2) {
            rows.delete(id)
            batch.delete(orders, { id })
          } else if (chance < 4) {
            const to = 40 + random.below(100_000)
            rows.delete(id)
            rows.set(to, { ...order(to), secret: row.secret })
            batch.update(orders, { ...rows.get(to)!, secret: UNCHANGED }, { id })
          } else if (chance < 7) {
            const total = random.below(25)
            rows.set(id, { ...row, total })
            batch.update(orders, { id, status: UNCHANGED, total, secret: UNCHANGED })
          } else if (chance < 9) {
            rows.set(id, { ...row, status: random.pick(['open', 'paid', null]) })
            batch.update(orders, { ...rows.get(id)!, total: UNCHANGED })
          } else {
            rows.set(id, { ...row, secret: 'hidden cell' })
            batch.update(orders, { id, status: UNCHANGED, total: UNCHANGED, secret: 'hidden cell' })
          }
        }
      })
      if (round % 5 === 4) await settled()
    }
    // A copy with other rows, a truncate, a column more, and rows after each.
    rows.clear()
    for (let id = 20; id < 60; id++) rows.set(id, order(id))
    await run.copy(orders, [...rows.values()])
    await settled()
    rows.clear()
    await run.change(orders, { kind: 'truncate' })
    rows.set(1, { id: 1, status: 'open', total: 20, secret: 'hidden cell' })
    await run.commit((batch) => batch.insert(orders, rows.get(1)!))
    await settled()
    const more = column('more', text)
    const later = { ...orders, columns: [...orders.columns, more] }
    await run.change(orders, { kind: 'add-column', column: more }, later)
    await run.commit((batch) =>
      batch.insert(later, { id: 2, status: 'open', total: 12, secret: 'hidden cell', more: 'x' }),
    )
    for (const { names, model, live } of followers) {
      await live.until('the row', () => {
        model.follow(live.transactions)
        return model.rows('orders').some(({ id }) => id === 2)
      })
      // Of a list, columns that are added later are not.
      expect(model.columns('orders').includes('more text'), names.join()).toBe(
        names.length === 0 || names.includes('open'),
      )
    }
    for (const { names, snapshot, live } of followers) {
      const text = JSON.stringify([snapshot.transactions, live.transactions])
      expect(text.includes('hidden'), names.join()).toBe(names.length === 0)
    }
  })
})

describe('a subscriber that does not read', () => {
  it('costs neither memory nor disk without end, and begins anew when the log had to forget', async () => {
    run = await ZeroSinkRun.start([users], { retain: '0s', maxLogSize: '4MB', pingInterval: '5m' })
    await run.copy(users, [user(1)])
    const [snapshot, stalled] = await run.follow()
    const [, live] = await run.follow()
    stalled.pause()
    const note = 'x'.repeat(20_000)
    const before = held()
    let peak = 0
    for (let count = 0; count < 3000; count++) {
      await run.commit((rows) => rows.insert(users, { id: 10 + (count % 100), name: `row ${count}`, note }))
      live.transactions.splice(0, live.transactions.length - 1)
      if (count % 300 !== 299) continue
      peak = Math.max(peak, held() - before)
    }
    console.log(`60 MB written beside a stalled subscriber: ${(peak / MB).toFixed(1)} MB more memory`)
    expect(peak).toBeLessThan(30 * MB)
    await live.until('the other one has everything', () =>
      JSON.stringify(live.transactions).includes('row 2999'),
    )
    await waitFor('the log is short', () => bytesOf(run.path) < 5 * MB)
    expect(statSync(run.path).size).toBeLessThan(40 * MB)
    stalled.resume()
    await stalled.until('it begins anew', () => stalled.others.length > 0)
    expect(stalled.others[0]![1]).toMatchObject({ tag: 'reset-required' })
    modelOf(snapshot).follow(stalled.transactions)
  })

  it('in the middle of its snapshot gets it as it was, and everything after', async () => {
    // Read after the other table.
    const counter = table('zz_counter')
    run = await ZeroSinkRun.start([users, counter])
    const note = 'x'.repeat(10_000)
    const rows = Array.from({ length: 3000 }, (_, id) => ({ id, name: 'first', note }))
    await run.beginCopy(counter)
    await run.copied(counter, [user(1, '0')])
    await run.beginCopy(users)
    for (let first = 0; first < rows.length; first += 300)
      await run.copied(users, rows.slice(first, first + 300))
    await run.heartbeat()
    const before = held()
    const slow = await run.subscribe()
    slow.pause()
    for (let count = 0; count < 500; count++)
      await run.commit((batch) => {
        batch.update(users, { id: count, name: 'second', note: UNCHANGED })
        batch.delete(users, { id: 2999 - count })
        batch.update(counter, user(1, String(count + 1)))
      })
    expect(held() - before).toBeLessThan(15 * MB)
    slow.resume()
    await slow.until('the snapshot is there', () => slow.transactions.length === 1, 60_000)
    const model = modelOf(slow)
    const names = new Set(model.rows('users').map(({ name }) => name))
    // As it was at one moment: `n` second ones, and as many less.
    expect(model.rows('users').filter(({ name }) => name === 'second')).toHaveLength(
      3000 - model.rows('users').length,
    )
    expect(names.has('first')).toBe(true)
    const seconds = model.rows('users').filter(({ name }) => name === 'second')
    expect(model.rows('zz_counter')).toEqual([user(1, String(seconds.length))])
    const live = await run.subscribe({ after: after(slow.watermark!) })
    await live.until('the rest', () => {
      model.follow(live.transactions)
      return model.rows('users').length === 2500
    })
    expect(model.rows('users').filter(({ name }) => name === 'second')).toHaveLength(500)
  })

  /** Bytes that this process holds on to, of its heap and of buffers. */
  function held(): number {
    collectGarbage()
    collectGarbage()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }

  function bytesOf(path: string): number {
    const db = new DatabaseSync(path, { readOnly: true })
    try {
      return (
        db.prepare('SELECT coalesce(sum(length(body)), 0) AS bytes FROM log').get() as { bytes: number }
      ).bytes
    } finally {
      db.close()
    }
  }
})

/** An answer follows all that was sent before. */
async function ping({ socket }: ZeroSubscriber): Promise<void> {
  for (let count = 0; count < 2; count++) {
    const pong = new Promise((resolve) => socket.once('pong', resolve))
    socket.ping()
    await pong
  }
}

async function snapshotOf(): Promise<ZeroSubscriber> {
  const subscriber = await run.subscribe()
  await subscriber.until('a snapshot', () => subscriber.transactions.length === 1)
  return subscriber
}
