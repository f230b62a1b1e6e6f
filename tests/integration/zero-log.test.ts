/** The change log of the Zero sink, as a subscriber sees it over copies, restarts and losses; the real SQLite file. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { WebSocket } from 'ws'
import { afterEach, describe, expect, it } from 'vitest'
import { packItems } from '../../src/connectors/sinks/zero/chunk-items.ts'
import { openLogFile } from '../../src/connectors/sinks/zero/log-file.ts'
import type { Chunk } from '../../src/connectors/sinks/zero/log-messages.ts'
import { LogWriter } from '../../src/connectors/sinks/zero/log-writer.ts'
import { PositionWriter } from '../../src/connectors/sinks/zero/position-text.ts'
import type { ValueBatchBuilder, ValueRow } from '../../src/core/value-batch.ts'
import { column, int, table, text } from '../support/memory-pipeline.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroModel } from '../support/zero-model.ts'
import { codeOf, place, type SinkOptions, ZeroSinkRun } from '../support/zero-sink-run.ts'
import type { ZeroSubscriber } from '../support/zero-subscriber.ts'

const users = table('users')
const orders = {
  ...table('orders'),
  columns: [column('id', int), column('status', text), column('total', int), column('secret', text)],
}
const TABLES = [users, orders]
const DAY_MS = 86_400_000
/** Of a log without publications. */
const RULES = { define: () => {}, forget: () => {}, masksOf: () => null }

let run: ZeroSinkRun
let permissions: string | null = null

afterEach(async () => {
  await run?.[Symbol.asyncDispose]()
  if (permissions !== null) rmSync(permissions, { recursive: true })
  permissions = null
})

const user = (id: number, name = `user ${id}`): ValueRow => ({ id, name, note: null })

/** Users 1 to `count`, published. */
async function started(count: number, options: SinkOptions = {}): Promise<void> {
  run = await ZeroSinkRun.start(TABLES, options)
  await run.copy(
    users,
    Array.from({ length: count }, (_, index) => user(index + 1)),
  )
}

async function insert(...ids: readonly number[]): Promise<void> {
  await run.commit((rows) => ids.forEach((id) => rows.insert(users, user(id))))
}

function after(
  lastWatermark: string,
  replicaVersion = lastWatermark,
): { lastWatermark: string; replicaVersion: string } {
  return { lastWatermark, replicaVersion }
}

/** Waits until the model of the subscriber has these users. */
async function untilUsers(
  model: ZeroModel,
  subscriber: ZeroSubscriber,
  ids: readonly number[],
): Promise<void> {
  await subscriber.until(`users ${ids.join()}`, () => {
    model.follow(subscriber.transactions)
    return model.tables.includes('users') && idsOf(model).join() === ids.join()
  })
}

function idsOf(model: ZeroModel, name = 'users'): readonly unknown[] {
  return model.rows(name).map(({ id }) => id)
}

function tagsOf(subscriber: ZeroSubscriber, index: number): readonly string[] {
  return subscriber.transactions[index]!.changes.map(({ tag }) => String(tag))
}

async function untilReset(subscriber: ZeroSubscriber): Promise<string> {
  await subscriber.until('it is told to begin anew', () => subscriber.others.length > 0)
  const [[kind, payload]] = subscriber.others as unknown as [[string, { tag: string; message: string }]]
  expect([kind, payload.tag]).toEqual(['control', 'reset-required'])
  expect(subscriber.transactions).toEqual([])
  return payload.message
}

describe('a first copy', () => {
  it('is published as one snapshot, at the first position where the state is whole', async () => {
    run = await ZeroSinkRun.start(TABLES)
    const subscriber = await run.subscribe()
    await run.beginCopy(users)
    await run.beginCopy(orders)
    await run.copied(users, [user(1), user(2)])
    await run.commit((rows) => rows.insert(users, user(3)), true)
    await run.copied(orders, [{ id: 1, status: 'open', total: 5, secret: 's' }])
    await run.heartbeat(true)
    // It would have come by now: an answer to a ping follows all that was sent before.
    await ping(subscriber)
    expect(subscriber.transactions).toEqual([])
    await run.heartbeat()
    await subscriber.until('the snapshot is there', () => subscriber.transactions.length === 1)
    const model = new ZeroModel()
    model.follow(subscriber.transactions)
    expect(model.tables).toEqual([
      'orders',
      'users',
      'zero.permissions',
      'zero_0.clients',
      'zero_0.mutations',
    ])
    expect(model.rows('users')).toEqual([user(1), user(2), user(3)])
    expect(model.rows('zero.permissions')).toEqual([{ lock: true, permissions: null, hash: null }])
    expect(model.columns('orders')).toEqual(['id int4', 'status text', 'total int4', 'secret text'])
  })

  it('goes on after a restart of the sink in silence, and none of it is published twice', async () => {
    run = await ZeroSinkRun.start(TABLES)
    await run.beginCopy(users)
    await run.copied(users, [user(1)])
    await run.stop()
    expect(await run.start(TABLES)).toMatchObject({ resume: { order: 1 }, partial: true })
    await run.copied(users, [user(2)], false)
    const subscriber = await run.subscribe()
    await untilUsers(new ZeroModel(), subscriber, [1, 2])
  })
})

describe('a repeated copy', () => {
  it('sends nothing but differences, as one transaction with what came meanwhile', async () => {
    await started(5)
    const [snapshot, live] = await run.follow()
    const model = new ZeroModel()
    model.follow(snapshot.transactions)
    await run.beginCopy(users)
    await run.copied(users, [user(1), user(2, 'Ben'), user(4)])
    await run.commit((rows) => rows.insert(orders, { id: 7, status: 'open', total: 1, secret: null }), true)
    await run.copied(users, [user(6)])
    await run.commit((rows) => rows.update(users, user(1, 'Ann')), true)
    await ping(live)
    expect(live.transactions).toEqual([])
    await run.heartbeat()
    await untilUsers(model, live, [1, 2, 4, 6])
    expect(live.transactions).toHaveLength(1)
    expect(tagsOf(live, 0).toSorted()).toEqual(['delete', 'delete', 'insert', 'insert', 'update', 'update'])
    expect(model.rows('users').map(({ name }) => name)).toEqual(['Ann', 'Ben', 'user 4', 'user 6'])
    expect(idsOf(model, 'orders')).toEqual([7])
  })

  it('of the same rows sends an empty transaction or none', async () => {
    await started(3)
    const [snapshot, live] = await run.follow()
    const model = new ZeroModel()
    model.follow(snapshot.transactions)
    await run.copy(users, [user(1), user(2), user(3)])
    await insert(9)
    await untilUsers(model, live, [1, 2, 3, 9])
    expect(live.transactions.flatMap(({ changes }) => changes)).toHaveLength(1)
  })

  it('that begins anew forgets what it had brought', async () => {
    await started(2)
    const [snapshot, live] = await run.follow()
    const model = new ZeroModel()
    model.follow(snapshot.transactions)
    await run.beginCopy(users)
    await run.copied(users, [user(50), user(51)])
    await run.copy(users, [user(2), user(3)])
    await untilUsers(model, live, [2, 3])
    expect(JSON.stringify(live.transactions)).not.toContain('user 5')
  })

  it('that had only begun when the process ended is none: what was published stays', async () => {
    await started(3)
    const [snapshot] = await run.follow()
    await run.beginCopy(users)
    await run.stop()
    await run.start(TABLES)
    await run.heartbeat()
    await insert(4)
    const live = await run.subscribe({ after: after(snapshot.watermark!) })
    await untilUsers(new Followed(snapshot), live, [1, 2, 3, 4])
    expect(live.transactions.flatMap(({ changes }) => changes)).toHaveLength(1)
    await untilUsers(new ZeroModel(), await run.subscribe(), [1, 2, 3, 4])
  })

  it('is not shown to somebody who asks for a snapshot meanwhile', async () => {
    await started(2)
    await run.beginCopy(users)
    await run.copied(users, [user(7)])
    await run.commit((rows) => rows.insert(orders, { id: 1, status: 'open', total: 1, secret: null }), true)
    const subscriber = await run.subscribe()
    await ping(subscriber)
    expect(subscriber.transactions).toEqual([])
    await run.copied(users, [user(8)], false)
    await untilUsers(new ZeroModel(), subscriber, [7, 8])
    expect(subscriber.transactions).toHaveLength(1)
  })
})

describe('watermarks (ZE-3)', () => {
  it('rise over snapshots, transactions and restarts', async () => {
    await started(1)
    const seen: string[] = []
    for (let round = 0; round < 4; round++) {
      const [snapshot, live] = await run.follow()
      await insert(10 + round)
      await live.until('the row comes', () => live.transactions.length > 0)
      seen.push(snapshot.watermark!, ...live.transactions.map(({ watermark }) => watermark))
      await run.stop()
      await run.start(TABLES)
    }
    expect(seen).toEqual([...new Set(seen)].toSorted())
    expect(seen.length).toBeGreaterThanOrEqual(8)
  })

  it('are never given to two snapshots, not even of the same state', async () => {
    await started(1)
    const [first, second] = await Promise.all([run.subscribe(), run.subscribe()])
    for (const one of [first, second]) await one.until('a snapshot', () => one.transactions.length === 1)
    const third = await run.subscribe()
    await third.until('a snapshot', () => third.transactions.length === 1)
    expect(third.watermark! > first.watermark!).toBe(true)
    expect(third.watermark! > second.watermark!).toBe(true)
  })

  it('rise after the log was lost and everything was copied anew', async () => {
    await started(3)
    await insert(4)
    const [, live] = await run.follow()
    const last = await watermarkAfter(live, 5)
    await run.stop()
    run.lose()
    await run.start(TABLES)
    await run.copy(users, [user(1)])
    const again = await run.subscribe()
    await again.until('a snapshot', () => again.transactions.length === 1)
    expect(again.watermark! > last).toBe(true)
  })

  it('rise after copies of everything', async () => {
    await started(1)
    const [snapshot, live] = await run.follow()
    for (const id of [2, 3, 4]) await run.copy(users, [user(id)])
    await untilUsers(new Followed(snapshot), live, [4])
    expect(live.watermark! > snapshot.watermark!).toBe(true)
  })

  it('rise although the clock went back, and a subscriber goes on where it was', async () => {
    await started(1)
    await run.stop()
    // A run whose clock is a day ahead.
    const writer = new LogWriter(
      openLogFile(run.path, { watermarks: 'resume', window: 0 }),
      () => Date.now() + DAY_MS,
      RULES,
    )
    writer.bump()
    writer.close()
    await run.start(TABLES)
    const [snapshot, live] = await run.follow()
    const model = new Followed(snapshot)
    expect(snapshot.watermark! > watermarkOf(Date.now() + DAY_MS / 2)).toBe(true)
    await insert(2)
    await untilUsers(model, live, [1, 2])
    await live[Symbol.asyncDispose]()
    await run.stop()
    await run.start(TABLES)
    await insert(3)
    const again = await run.subscribe({ after: after(live.watermark!, snapshot.watermark!) })
    await untilUsers(model, again, [1, 2, 3])
  })

  it('that were asked for in the middle of a transaction come after it, also when that is given up', async () => {
    await started(1)
    const order = run.order
    await run.stop()
    const writer = new LogWriter(openLogFile(run.path, { watermarks: 'resume', window: 0 }), Date.now, RULES)
    const { head } = writer
    const beat = (number: number): Chunk => {
      const commit = { timeMs: null, order: place(number).order, partial: false }
      const position = new PositionWriter(1000).write(place(number))
      return { buffer: new Uint8Array(0), items: packItems([{ end: 0, origin: 'stream', commit }]), position }
    }
    writer.change({ kind: 'truncate', source: 'public.users' }, false)
    writer.bump()
    expect(writer.head).toBe(head)
    writer.reset()
    expect(writer.head).toBe(head)
    writer.apply(beat(order + 1))
    expect(writer.head).toBeGreaterThan(head)
    const bumped = writer.head
    writer.apply(beat(order + 2))
    expect(writer.head).toBe(bumped)
    writer.close()
    await run.start(TABLES)
    await untilUsers(new ZeroModel(), await run.subscribe(), [1])
  })
})

describe('a watermark that cannot be gone on from (ZE-4)', () => {
  it('since it is of another log, ahead, or no watermark at all, is answered with reset-required', async () => {
    await started(1)
    const watermarks = [
      watermarkOf(1_000),
      watermarkOf(Date.now() + DAY_MS),
      `z${'9'.repeat(36)}`,
      'not-a-watermark',
      '05.01',
      '<script>',
    ]
    for (const watermark of watermarks)
      expect(await untilReset(await run.subscribe({ after: after(watermark) }))).toMatch(/watermark/)
  })

  it('of a replica that is newer than it is answered with reset-required', async () => {
    await started(1)
    const [snapshot, live] = await run.follow()
    const newer = await watermarkAfter(live, 2)
    expect(await untilReset(await run.subscribe({ after: after(snapshot.watermark!, newer) }))).toMatch(
      /replica version/,
    )
    const unknown = await run.subscribe({ after: after(newer, 'what is this') })
    expect(await untilReset(unknown)).toMatch(/replica version/)
  })

  it('between two of ours is answered with reset-required', async () => {
    await started(1)
    const [snapshot] = await run.follow()
    await run.stop()
    await run.start(TABLES)
    await insert(2)
    const between = Number.parseInt(snapshot.watermark!.slice(1), 36) + 1
    expect(await untilReset(await run.subscribe({ after: after(watermarkText(between)) }))).toMatch(
      /watermark/,
    )
  })

  it('of a log that was lost is answered with reset-required; a snapshot then heals', async () => {
    await started(1)
    const [snapshot] = await run.follow()
    await run.stop()
    run.lose()
    await run.start(TABLES)
    await run.copy(users, [user(8)])
    expect(await untilReset(await run.subscribe({ after: after(snapshot.watermark!) }))).toMatch(/watermark/)
    await untilUsers(new ZeroModel(), await run.subscribe(), [8])
  })

  it('while the lost log is copied again is answered at once, not after hours', async () => {
    await started(1)
    const [snapshot] = await run.follow()
    await run.stop()
    run.lose()
    await run.start(TABLES)
    await run.beginCopy(users)
    await run.copied(users, [user(1)])
    expect(await untilReset(await run.subscribe({ after: after(snapshot.watermark!) }))).toMatch(/watermark/)
  })

  it('from before a publication was changed is answered with reset-required; other publications go on', async () => {
    const publications = {
      all: { tables: ['public.*'] },
      shop: { tables: ['public.users'], rows: { 'public.users': { id: { $lt: 3 } } } },
    }
    await started(4, { publications })
    const [shop] = await run.follow({ publications: ['shop'] })
    const [all] = await run.follow({ publications: ['all'] })
    const [none] = await run.follow()
    await run.stop()
    await run.start(TABLES, {
      publications: {
        ...publications,
        shop: { tables: ['public.users'], rows: { 'public.users': { id: { $lt: 4 } } } },
      },
    })
    await insert(0)
    const again = await run.subscribe({ publications: ['shop'], after: after(shop.watermark!) })
    expect(await untilReset(again)).toMatch(/publication shop/)
    const others = await run.subscribe({ publications: ['all'], after: after(all.watermark!) })
    await untilUsers(new Followed(all), others, [0, 1, 2, 3, 4])
    await untilUsers(
      new Followed(none),
      await run.subscribe({ after: after(none.watermark!) }),
      [0, 1, 2, 3, 4],
    )
    const anew = await run.subscribe({ publications: ['shop'] })
    await untilUsers(new ZeroModel(), anew, [0, 1, 2, 3])
  })
})

describe('what is kept (ZE-6)', () => {
  it('goes when every subscriber has stored it', async () => {
    await started(1, { retain: '0s' })
    const [snapshot, live] = await run.follow()
    for (let id = 2; id < 60; id++) await insert(id)
    await live.until('the last one', () =>
      live.transactions.some(({ changes }) => JSON.stringify(changes).includes('user 59')),
    )
    await live.until('the log is short', () => entries(run.path).length === 1, 20_000)
    expect(entries(run.path)).toEqual([Number.parseInt(live.watermark!.slice(1), 36)])
    await untilReset(await run.subscribe({ after: after(snapshot.watermark!) }))
  })

  it('stays for one that is away, also over restarts, and for one that stores nothing', async () => {
    await started(1, { retain: '0s' })
    const [snapshot, live] = await run.follow()
    const model = new Followed(snapshot)
    await insert(2)
    await untilUsers(model, live, [1, 2])
    await upkeep(run, live.watermark!)
    await live[Symbol.asyncDispose]()
    await run.stop()
    await run.start(TABLES)
    for (let id = 3; id < 30; id++) await insert(id)
    // Another subscriber has everything.
    const [, other] = await run.follow({ publications: [] })
    await insert(30)
    await other.until('the last one', () => JSON.stringify(other.transactions).includes('user 30'))
    const back = await run.subscribe({ after: after(live.watermark!, snapshot.watermark!) })
    await untilUsers(
      model,
      back,
      Array.from({ length: 30 }, (_, index) => index + 1),
    )
    expect(back.others).toEqual([])
  })

  it('goes too when the log is full and `whenFull` says prune: the one that was away begins anew', async () => {
    await started(1, { retain: '0s', maxLogSize: '1MB' })
    const [snapshot] = await run.follow({ acks: false })
    await large(40)
    const subscriber = await run.subscribe()
    await subscriber.until(
      'the log is not larger than it may be',
      () => logBytes(run.path) < 1_300_000,
      20_000,
    )
    await untilReset(await run.subscribe({ after: after(snapshot.watermark!) }))
    expect(run.log.text()).toContain('a subscriber that is away will have to begin anew')
  })

  it('stops the pipeline when the log is full and `whenFull` says stop; with the subscriber it goes on', async () => {
    await started(1, { retain: '0s', maxLogSize: '1MB', whenFull: 'stop' })
    const [snapshot] = await run.follow({ acks: false })
    await large(40)
    const held = await run.subscribe()
    await waitFor(
      'writes are refused',
      async () => (await codeOf(insert(1_000_000 + run.order))) === 'zero/log-full',
    )
    expect(held.failure).toBeNull()
    // The pipeline has ended; it is started again, and the subscriber comes back.
    await run.stop()
    await run.start(TABLES)
    const back = await run.subscribe({ after: after(snapshot.watermark!) })
    await back.until('it has everything', () =>
      JSON.stringify(back.transactions.at(-1)?.changes ?? '').includes('large 39'),
    )
    await back.until('the log is short again', () => logBytes(run.path) < 1_300_000, 20_000)
    await insert(77)
    await back.until('the row', () => JSON.stringify(back.transactions.at(-1)).includes('user 77'))
  })

  it('a transaction larger than the log may be does not stop anything once everybody has it', async () => {
    await started(1, { retain: '0s', maxLogSize: '1MB', whenFull: 'stop' })
    const [, live] = await run.follow()
    await run.commit((rows) => {
      for (let id = 0; id < 40; id++)
        rows.insert(users, { id: 100 + id, name: `large ${id}`, note: 'x'.repeat(50_000) })
    })
    await live.until('it is there', () =>
      JSON.stringify(live.transactions.at(-1)?.changes ?? '').includes('large 39'),
    )
    await upkeep(run, live.watermark!)
    expect(await codeOf(insert(2))).toBe('nothing failed')
    await live.until('the row', () => JSON.stringify(live.transactions.at(-1)).includes('user 2'))
  })
})

describe('two subscribers (ZE-12)', () => {
  it('at different positions both get complete streams', async () => {
    await started(1)
    const [first, one] = await run.follow()
    const a = new Followed(first)
    await insert(2)
    await untilUsers(a, one, [1, 2])
    await one[Symbol.asyncDispose]()
    const [second, two] = await run.follow()
    const b = new Followed(second)
    for (let id = 3; id < 10; id++) await insert(id)
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    await untilUsers(b, two, all)
    const late = await run.subscribe({ after: after(one.watermark!, first.watermark!) })
    await untilUsers(a, late, all)
    const latest = await run.subscribe({ after: after(first.watermark!) })
    await untilUsers(new Followed(first), latest, all)
    await insert(10)
    for (const [model, subscriber] of [
      [a, late],
      [b, two],
    ] as const)
      await untilUsers(model, subscriber, [...all, 10])
    expect([...late.others, ...latest.others, ...two.others]).toEqual([])
  })
})

describe('a pipeline with another sink that is behind', () => {
  it('replays what this one has: nothing older is published, and nothing twice', async () => {
    await started(2)
    const [snapshot, live] = await run.follow()
    const model = new Followed(snapshot)
    const marks: number[] = []
    const history: ((rows: ValueBatchBuilder) => void)[] = [
      (rows) => rows.insert(users, user(3)),
      (rows) => rows.update(users, user(1, 'Ann')),
      (rows) => rows.delete(users, { id: 2 }),
      (rows) => rows.insert(users, user(2, 'Ben')),
    ]
    const begin = run.order
    for (const step of history) {
      await run.commit(step)
      marks.push(run.order)
    }
    await untilUsers(model, live, [1, 2, 3])
    const before = live.transactions.length
    const state = JSON.stringify(model.rows('users'))
    await run.heartbeat(false, begin)
    for (const [index, step] of history.slice(0, 3).entries()) {
      await run.commit(step)
      expect(run.order).toBe(marks[index])
    }
    const late = await run.subscribe()
    await ping(live)
    await ping(late)
    expect(live.transactions).toHaveLength(before)
    expect(late.transactions).toEqual([])
    // A subscriber that comes back now has to wait too, and is not turned away.
    const back = await run.subscribe({ after: after(live.watermark!, snapshot.watermark!) })
    await ping(back)
    expect(back.others).toEqual([])
    await run.commit(history[3]!)
    await late.until('the snapshot', () => late.transactions.length === 1)
    expect(JSON.stringify(new Followed(late).rows('users'))).toBe(state)
    await run.commit((rows) => rows.insert(users, user(9)))
    for (const subscriber of [live, back])
      await subscriber.until('the new row', () =>
        JSON.stringify(subscriber.transactions.at(-1) ?? '').includes('user 9'),
      )
    // As zero-cache does: what is repeated replaces rows, deletes find none.
    const names = (
      live.transactions.slice(before).flatMap(({ changes }) => changes) as {
        new?: { id: number; name: string }
      }[]
    ).flatMap(({ new: row }) => (row === undefined ? [] : [`${row.id} ${row.name}`]))
    expect(names.at(-1)).toBe('9 user 9')
  })

  it('and is killed in the replay goes on with it after the restart', async () => {
    await started(1)
    const begin = run.order
    await insert(2)
    await insert(3)
    await run.heartbeat(false, begin)
    await insert(2)
    await run.stop()
    const position = await run.start(TABLES)
    expect(position).toMatchObject({ resume: { order: begin + 1 } })
    const subscriber = await run.subscribe()
    await ping(subscriber)
    expect(subscriber.transactions).toEqual([])
    await insert(3)
    await untilUsers(new ZeroModel(), subscriber, [1, 2, 3])
  })
})

describe('permissions', () => {
  const allow = (name: string) =>
    JSON.stringify({ tables: { [name]: { row: { select: [['allow', { type: 'and', conditions: [] }]] } } } })

  it('of a file are in the snapshot, and a new file reaches whoever follows, as one row', async () => {
    const file = join(folder(), 'permissions.json')
    writeFileSync(file, allow('users'))
    await started(1, { permissions: { file } })
    const [snapshot, live] = await run.follow()
    const model = new Followed(snapshot)
    expect(JSON.parse(String(model.rows('zero.permissions')[0]!['permissions']))).toEqual(
      JSON.parse(allow('users')),
    )
    const before = model.rows('zero.permissions')[0]!['hash']
    writeFileSync(file, allow('orders'))
    await live.until('the new permissions', () => live.transactions.length === 1)
    model.follow(live.transactions)
    expect(model.rows('zero.permissions')).toHaveLength(1)
    expect(model.rows('zero.permissions')[0]!['permissions']).toContain('orders')
    expect(model.rows('zero.permissions')[0]!['hash']).not.toBe(before)
    // A file that is broken changes nothing.
    writeFileSync(file, '{')
    await live.until('it is reported', () => run.log.text().includes('the permissions so far stay'))
    expect(live.transactions).toHaveLength(1)
  })

  it('that changed while nothing ran come with the first connection', async () => {
    const file = join(folder(), 'permissions.json')
    writeFileSync(file, allow('users'))
    await started(1, { permissions: { file } })
    const [snapshot] = await run.follow()
    await run.stop()
    writeFileSync(file, allow('orders'))
    await run.start(TABLES)
    const live = await run.subscribe({ after: after(snapshot.watermark!) })
    await live.until('the new permissions', () => JSON.stringify(live.transactions).includes('orders'))
    expect(live.transactions).toHaveLength(1)
  })
})

describe('internal tables', () => {
  const clients = {
    ...table('clients'),
    namespace: 'zero_0',
    columns: [
      column('clientGroupID', text),
      column('clientID', text),
      { ...column('lastMutationID', int), type: { kind: 'int', bits: 64, unsigned: false } as const },
    ],
    key: [0, 1],
  }
  const row = { clientGroupID: 'g', clientID: 'c', lastMutationID: 1n }

  it('that the source has come from it, whatever the publication; confirmations in the transaction of the data', async () => {
    run = await ZeroSinkRun.start([users, clients], { publications: { shop: { tables: ['public.users'] } } })
    await run.beginCopy(clients)
    await run.copied(clients, [row])
    await run.copy(users, [user(1)])
    const [snapshot, live] = await run.follow({ publications: ['shop'] })
    const model = new Followed(snapshot)
    expect(model.rows('zero_0.clients')).toEqual([
      { clientGroupID: 'g', clientID: 'c', lastMutationID: 1, userID: null },
    ])
    expect(model.tables).toContain('zero_0.mutations')
    await run.commit((rows) => {
      rows.insert(users, user(2))
      rows.update(clients, { ...row, lastMutationID: 2n })
    })
    await untilUsers(model, live, [1, 2])
    expect(live.transactions).toHaveLength(1)
    expect(model.rows('zero_0.clients')[0]).toMatchObject({ lastMutationID: 2 })
  })
})

describe('a socket', () => {
  it('that sends what is no status is closed, and no other', async () => {
    await started(1)
    const [snapshot, good] = await run.follow()
    const messages = [
      'what?',
      JSON.stringify(['hello', {}, {}]),
      JSON.stringify(['status', { tag: 'commit' }]),
      JSON.stringify(['status', { tag: 'commit' }, { watermark: 'zz' }]),
      'x'.repeat(70_000),
      Buffer.from([0xff, 0xfe, 0x00]),
    ]
    for (const message of messages) {
      const bad = await run.subscribe({ after: after(snapshot.watermark!) })
      bad.socket.send(message)
      await bad.until('it is closed', () => bad.closed !== null)
      expect([1008, 1009, 1007]).toContain(bad.closed!.code)
    }
    await insert(2)
    await untilUsers(new Followed(snapshot), good, [1, 2])
  })

  it('that breaks the frames of WebSocket is closed, and no other', async () => {
    await started(1)
    const [snapshot, good] = await run.follow()
    const bad = await run.subscribe()
    const raw = (bad.socket as unknown as { _socket: Socket })._socket
    raw.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00]))
    await bad.until('it is closed', () => bad.socket.readyState === WebSocket.CLOSED)
    await insert(2)
    await untilUsers(new Followed(snapshot), good, [1, 2])
    expect(good.closed).toBeNull()
  })
})

describe('the file', () => {
  it('and its companions can be read by nobody else', async () => {
    await started(1)
    for (const end of ['', '-wal', '-shm', '-lock'])
      expect(statSync(`${run.path}${end}`).mode & 0o777).toBe(0o600)
    expect(statSync(join(run.folder, 'deep')).mode & 0o777).toBe(0o700)
  })
})

/** A model that has applied what the subscriber got. */
class Followed extends ZeroModel {
  constructor(subscriber: ZeroSubscriber) {
    super()
    this.follow(subscriber.transactions)
  }
}

async function ping({ socket }: ZeroSubscriber): Promise<void> {
  // Twice: the sink reacts to what was published in the turn after.
  for (let count = 0; count < 2; count++) {
    const pong = new Promise((resolve) => socket.once('pong', resolve))
    socket.ping()
    await pong
  }
}

/** Inserts a user and returns the watermark that it comes with. */
async function watermarkAfter(live: ZeroSubscriber, id: number): Promise<string> {
  await insert(id)
  await live.until('the row', () => JSON.stringify(live.transactions).includes(`"user ${id}"`))
  return live.watermark!
}

async function large(count: number): Promise<void> {
  for (let index = 0; index < count; index++)
    await run.commit((rows) =>
      rows.insert(users, { id: 1000 + run.order, name: `large ${index}`, note: 'x'.repeat(50_000) }),
    )
}

/** Waits until what the subscriber has stored is noted in the file, after which old entries are removed. */
async function upkeep({ path }: ZeroSinkRun, watermark: string): Promise<void> {
  const number = Number.parseInt(watermark.slice(1), 36)
  await waitFor('the acknowledgement is stored', () =>
    query(path, 'SELECT acked AS value FROM subscribers').includes(number),
  )
  await waitFor('older entries are removed', () => entries(path).every((entry) => entry >= number))
}

function entries(path: string): readonly number[] {
  return query(path, 'SELECT DISTINCT watermark AS value FROM log ORDER BY 1')
}

function logBytes(path: string): number {
  return query(path, 'SELECT coalesce(sum(length(body)), 0) AS value FROM log')[0]!
}

function query(path: string, sql: string): readonly number[] {
  const db = new DatabaseSync(path, { readOnly: true })
  try {
    return (db.prepare(sql).all() as { value: number }[]).map(({ value }) => value)
  } finally {
    db.close()
  }
}

function watermarkText(value: number): string {
  const digits = value.toString(36)
  return `${(digits.length - 1).toString(36)}${digits}`
}

/** What a run would begin above whose clock shows this. */
function watermarkOf(timeMs: number): string {
  return watermarkText(timeMs * 1000)
}

function folder(): string {
  return (permissions = mkdtempSync(join(tmpdir(), 'sluice-permissions-')))
}
