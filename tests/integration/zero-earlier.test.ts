/** A watermark database of zero-sources at the path of the change log: who followed that server goes on (WS-2). */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openForReading } from '../../src/connectors/sinks/zero/log-file.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import { column, table, text } from '../support/memory-pipeline.ts'
import {
  createTable,
  insert,
  internalTables,
  ScriptedChangeSource,
} from '../support/scripted-change-source.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroReplica } from '../support/zero-replica.ts'
import { codeOf, type SinkOptions, ZeroSinkRun } from '../support/zero-sink-run.ts'
import type { ZeroSubscriber } from '../support/zero-subscriber.ts'
import { type EarlierPair, writeZeroSourcesDatabase } from '../support/zero-sources-database.ts'

const users = table('users')
const TABLES = [users]
const T = Date.UTC(2026, 10, 21, 10)
const MINUTE_MS = 60_000
/** Watermarks 01 to 03, a minute apart. */
const PAIRS: readonly EarlierPair[] = [
  { watermark: '01', timeMs: T },
  { watermark: '02', timeMs: T + MINUTE_MS },
  { watermark: '03', timeMs: T + 2 * MINUTE_MS },
]

let folder: string
let path: string
let run: ZeroSinkRun | null = null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-earlier-'))
  path = join(folder, 'watermarks.db')
})

afterEach(async () => {
  await run?.[Symbol.asyncDispose]()
  run = null
  rmSync(folder, { recursive: true })
})

const user = (id: number, name = `user ${id}`): ValueRow => ({ id, name, note: null })

async function start(pairs: readonly EarlierPair[] = PAIRS, options: SinkOptions = {}): Promise<ZeroSinkRun> {
  if (pairs.length > 0) writeZeroSourcesDatabase(path, pairs)
  run = await ZeroSinkRun.start(TABLES, { path, ...options })
  return run
}

/** What the source does at a first start that replays: rows are copied, and its log from before is read over them. */
async function copyAndReplay(sink: ZeroSinkRun): Promise<void> {
  await sink.beginCopy(users)
  await sink.copied(users, [user(1, 'Ann, now'), user(3), user(4)])
  await sink.commit((rows) => rows.update(users, user(1, 'Ann'), user(1)), true)
  await sink.commit((rows) => rows.delete(users, user(2)), true)
  await sink.commit((rows) => {
    rows.insert(users, user(4))
    rows.update(users, user(1, 'Ann, now'), user(1))
  })
}

function follower(sink: ZeroSinkRun, lastWatermark: string): Promise<ZeroSubscriber> {
  return sink.subscribe({ after: { lastWatermark, replicaVersion: '00' } })
}

/** What it is told instead of changes. */
async function answerTo(subscriber: ZeroSubscriber): Promise<unknown> {
  await subscriber.until('it is told something', () => subscriber.others.length > 0)
  expect(subscriber.transactions).toEqual([])
  return (subscriber.others[0]![1] as { tag: unknown }).tag
}

const REPLAYED = [
  ['update', { id: 1, name: 'Ann', note: null }],
  ['delete', { id: 2 }],
  ['insert', { id: 4, name: 'user 4', note: null }],
  ['update', { id: 1, name: 'Ann, now', note: null }],
]

function changesOf(subscriber: ZeroSubscriber): unknown {
  return subscriber.transactions[0]!.changes.flatMap((change) => {
    const { tag, relation } = change as { tag: string; relation?: { name: string } }
    return relation?.name === 'users' ? [[tag, change['new'] ?? change['key']]] : []
  })
}

describe('a watermark database of zero-sources', () => {
  it('asks for a replay from its oldest watermark, within an hour of the newest', async () => {
    const old = { watermark: '01', timeMs: T - 61 * MINUTE_MS }
    const sink = await start([old, ...PAIRS.slice(1), { watermark: '0z', timeMs: T, shard: '7' }])
    expect(sink.replayFrom).toBe(T)
  })

  it('lets who followed go on: with every change since as one transaction, and no row of the copy', async () => {
    const sink = await start()
    const early = await follower(sink, '03')
    await copyAndReplay(sink)
    const late = await follower(sink, '02')
    for (const subscriber of [early, late]) {
      await subscriber.until('it goes on', () => subscriber.transactions.length > 0)
      expect(changesOf(subscriber)).toEqual(REPLAYED)
      expect(subscriber.others).toEqual([])
    }
    await sink.commit((rows) => rows.insert(users, user(5)))
    await early.until('it is live', () => early.transactions.length === 2)
  })

  it('is silent before the copy is complete', async () => {
    const sink = await start()
    const subscriber = await follower(sink, '03')
    await sink.beginCopy(users)
    await sink.copied(users, [user(1)])
    await sink.commit((rows) => rows.insert(users, user(2)), true)
    const pong = new Promise((resolve) => subscriber.socket.once('pong', resolve))
    subscriber.socket.ping()
    await pong
    expect([subscriber.transactions, subscriber.others]).toEqual([[], []])
    await sink.heartbeat()
    await subscriber.until('it goes on', () => subscriber.transactions.length === 1)
  })

  it('is asked for once: a restart in the middle goes on, one after it follows', async () => {
    const sink = await start()
    await sink.beginCopy(users)
    await sink.copied(users, [user(1)])
    await sink.commit((rows) => rows.insert(users, user(2)), true)
    await sink.stop()
    expect(await sink.start(TABLES)).toMatchObject({ partial: true })
    expect(sink.replayFrom).toBeUndefined()
    await sink.commit((rows) => rows.insert(users, user(3)))
    await sink.stop()
    expect(await sink.start(TABLES)).not.toBeNull()
    const subscriber = await follower(sink, '01')
    await subscriber.until('it goes on', () => subscriber.transactions.length > 0)
    expect(changesOf(subscriber)).toEqual([
      ['insert', user(2)],
      ['insert', user(3)],
    ])
  })

  it('is asked for again when nothing came of the first start', async () => {
    const sink = await start()
    await sink.stop()
    await sink.start(TABLES)
    expect(sink.replayFrom).toBe(T)
  })

  it('does not stand in for watermarks that it never had, nor for those of another shard', async () => {
    const sink = await start()
    await copyAndReplay(sink)
    for (const watermark of ['00', '04', '1zz'])
      expect(await answerTo(await follower(sink, watermark))).toBe('reset-required')
    const other = await sink.subscribe({
      after: { lastWatermark: '03', replicaVersion: '00' },
      shardNum: 1,
    })
    expect(await answerTo(other)).toBe('reset-required')
  })

  it('tells the permissions, whatever the earlier server had', async () => {
    const sink = await start(PAIRS, { permissions: 'allow-all-select' })
    await copyAndReplay(sink)
    const subscriber = await follower(sink, '03')
    await subscriber.until('it goes on', () => subscriber.transactions.length > 0)
    const tables = subscriber.transactions[0]!.changes.map(
      ({ relation }) => (relation as { name: string }).name,
    )
    expect(tables.at(-1)).toBe('permissions')
  })

  it('holds the log until a zero-cache of the shard has stored what it lacks', async () => {
    const sink = await start(PAIRS, { retain: '0s' })
    await copyAndReplay(sink)
    const held = (): readonly unknown[] => {
      const db = openForReading(path)
      try {
        return db.prepare('SELECT id, acked FROM subscribers ORDER BY id').all()
      } finally {
        db.close()
      }
    }
    expect(held()).toEqual([{ id: 'earlier server/0', acked: 0 }])
    await follower(sink, '03')
    await waitFor('nobody waits any more', () => !JSON.stringify(held()).includes('earlier server'), 15_000)
  })

  it('is kept beside the log, and imported once', async () => {
    const sink = await start()
    await sink.stop()
    expect(readdirSync(folder).toSorted()).toEqual([
      'watermarks.db',
      'watermarks.db-lock',
      'watermarks.db-zero-sources',
    ])
    sink.lose()
    await sink.start(TABLES)
    expect(sink.replayFrom).toBeUndefined()
  })

  it('is imported after a crash in the middle of that', async () => {
    writeZeroSourcesDatabase(`${path}-importing`, PAIRS)
    const sink = await start([])
    expect(sink.replayFrom).toBe(T)
    expect(existsSync(`${path}-importing`)).toBe(false)
  })

  it('is refused while the earlier server still has it', async () => {
    writeZeroSourcesDatabase(path, PAIRS)
    const server = new DatabaseSync(path)
    server.exec('BEGIN IMMEDIATE')
    expect(await codeOf(ZeroSinkRun.start(TABLES, { path }))).toBe('zero/log-in-use')
    server.close()
    const sink = await start([])
    expect(sink.replayFrom).toBe(T)
  })

  it('is only moved aside when its watermarks are to be forgotten, also later', async () => {
    const sink = await start()
    await sink.stop()
    await sink.start(TABLES, { path, earlier: { watermarks: 'forget' } })
    expect(sink.replayFrom).toBeUndefined()
    await copyAndReplay(sink)
    expect(await answerTo(await follower(sink, '03'))).toBe('reset-required')
  })

  it('is forgotten with the copy that was begun for it, whose position may be lost', async () => {
    const sink = await start()
    await sink.beginCopy(users)
    await sink.copied(users, [user(1), user(2)])
    await sink.commit((rows) => rows.insert(users, user(3)), true)
    await sink.stop()
    expect(await sink.start(TABLES, { path, earlier: { watermarks: 'forget' } })).toBeNull()
    await sink.copy(users, [user(2)])
    const [snapshot] = await sink.follow()
    expect(changesOf(snapshot)).toContainEqual(['insert', user(2)])
    expect(JSON.stringify(changesOf(snapshot))).not.toContain('user 1')
    await sink.stop()
    expect(await sink.start(TABLES)).not.toBeNull()
  })

  it('stands in for nobody when a table changes before the copy is complete', async () => {
    const sink = await start()
    const subscriber = await follower(sink, '03')
    await sink.beginCopy(users)
    await sink.copied(users, [user(1)])
    const wider = { ...users, columns: [...users.columns, column('more', text)] }
    await sink.change(users, { kind: 'add-column', column: wider.columns[3]! }, wider)
    await sink.heartbeat()
    expect(await answerTo(subscriber)).toBe('reset-required')
  })

  it('of something else is not touched', async () => {
    const db = new DatabaseSync(path)
    db.exec('CREATE TABLE zero_kv (key TEXT); CREATE TABLE other (id INTEGER)')
    db.close()
    expect(await codeOf(ZeroSinkRun.start(TABLES, { path }))).toBe('zero/log-foreign')
  })
})

describe('a real zero-cache that followed zero-sources', () => {
  it('goes on with its replica, and is equal to the source then', async () => {
    const columns = { id: { dataType: 'int4' }, name: { dataType: 'text' }, note: { dataType: 'text' } }
    const rows = [user(1), user(2), user(3)].map((row) => insert('users', row))
    const snapshot = [...internalTables(['users']), ...createTable('users', columns, ['id']), ...rows]
    await using server = await ScriptedChangeSource.start(snapshot, 0)
    await using cache = await ZeroCache.start({ upstream: server.url, autoReset: false })
    await cache.ready()
    const last = server.send(insert('users', user(2, 'Ben')))
    await waitFor('the earlier server is followed', () => server.acks.includes(last), 30_000)
    await cache.stop()

    const sink = await start([{ watermark: '01', timeMs: T }])
    expect(last).toBe('01')
    await copyAndReplay(sink)
    await cache.restart(sink.url)
    const names = (): readonly unknown[] => {
      using replica = new ZeroReplica(cache.replicaFile)
      return replica
        .rows('users')
        .toSorted((a, b) => Number(a['id']) - Number(b['id']))
        .map(({ name }) => name)
    }
    await waitFor(
      'the replica has what changed meanwhile',
      () => names().join() === 'Ann, now,user 3,user 4',
      60_000,
    )
    await sink.commit((rows) => rows.insert(users, user(5)))
    await waitFor('it is live', () => names().length === 4, 30_000)
    expect(cache.output).not.toContain('reset-required')
    await cache.ready()
  })
})
