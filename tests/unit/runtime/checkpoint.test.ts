import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CoreError, LeaseLostError } from '../../../src/core/error.ts'
import type { Moment } from '../../../src/runtime/checkpoint/moment.ts'
import { mayBeAlive, thisProcess } from '../../../src/runtime/checkpoint/owner.ts'
import { sqliteError } from '../../../src/runtime/checkpoint/sqlite-error.ts'
import { SqliteCheckpointStore } from '../../../src/runtime/checkpoint/sqlite.ts'
import { type Checkpoint, LeaseHeldError } from '../../../src/runtime/checkpoint/store.ts'
import { waitFor } from '../../support/wait-for.ts'

const checkpoint: Checkpoint = {
  position: { order: '1', resume: { lsn: '0/1' } },
  source: 'postgres',
  sinks: ['a'],
}
/** A process of this machine that has ended. */
const dead = { host: hostname(), pid: 1, startedAt: 'another boot/1' }
const stranger = { host: 'elsewhere', pid: 1, startedAt: null }

let directory: string
let path: string
let stores: SqliteCheckpointStore[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-checkpoint-'))
  path = join(directory, 'deep', 'checkpoints.db')
})

afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()))
  stores = []
  rmSync(directory, { recursive: true })
})

function open(at = path, now?: () => Moment): SqliteCheckpointStore {
  const store = new SqliteCheckpointStore(at, now)
  stores.push(store)
  return store
}

async function failure(promise: Promise<unknown>): Promise<CoreError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(CoreError)
  return error as CoreError
}

describe('the checkpoint file', () => {
  it('gives back what was saved, to another process too', async () => {
    const store = open()
    expect(await store.load('p')).toBeNull()
    const lease = await store.acquire('p', thisProcess())
    await store.save(lease, checkpoint)
    await store.release(lease)
    await store.close()
    expect(await open().load('p')).toEqual(checkpoint)
  })

  it('is made for its owner only, with its directory', async () => {
    await open().acquire('p', thisProcess())
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(`${path}-wal`).mode & 0o777).toBe(0o600)
  })

  it('keeps everything that was saved when the process is killed', async () => {
    const child = spawn(process.execPath, [
      fileURLToPath(new URL('../../support/checkpoint-writer.ts', import.meta.url)),
      path,
    ])
    const printed = lines(child)
    await waitFor('some positions are saved', () => printed.length >= 20)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    const store = open()
    // The owner is gone, so nobody has to wait for its lease to expire.
    const lease = await store.acquire('p', thisProcess())
    expect(lease.fence).toBe(2)
    const saved = await store.load('p')
    expect(saved!.position.resume).toBeGreaterThanOrEqual(Number(printed.at(-1)))
  })

  it('refuses a checkpoint of a newer version', async () => {
    const store = open()
    const lease = await store.acquire('p', thisProcess())
    await store.save(lease, { ...checkpoint, format: 99 } as Checkpoint)
    expect((await failure(store.load('p'))).code).toBe('checkpoint/newer-format')
  })

  it('says what is wrong with it', async () => {
    const file = join(directory, 'file')
    writeFileSync(file, 'this is text and certainly not a database, over and over. '.repeat(100))
    expect((await failure(open(file).load('p'))).code).toBe('checkpoint/corrupt')
    expect((await failure(open(join(file, 'below', 'x.db')).load('p'))).code).toBe('checkpoint/unwritable')
    expect((await failure(open(directory).load('p'))).code).toBe('checkpoint/unwritable')
  })

  it('is missed when somebody removes it', async () => {
    const store = open()
    const lease = await store.acquire('p', thisProcess())
    rmSync(path)
    expect((await failure(store.save(lease, checkpoint))).code).toBe('checkpoint/missing')
  })

  it.each([
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 13 }, 'checkpoint/disk-full', true],
    [{ code: 'ENOSPC', sqlite: null }, 'checkpoint/disk-full', true],
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 10 | (19 << 8) }, 'checkpoint/disk-full', true],
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 5 }, 'checkpoint/busy', true],
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 10 | (3 << 8) }, 'checkpoint/io', true],
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 8 }, 'checkpoint/unwritable', false],
    [{ code: 'EACCES', sqlite: null }, 'checkpoint/unwritable', false],
    [{ code: 'ERR_SQLITE_ERROR', sqlite: 1 }, 'checkpoint/unexpected', false],
  ])('turns %o into %s', (answer, code, retryable) => {
    expect(sqliteError('x.db', { message: 'm', ...answer })).toMatchObject({ code, retryable })
  })
})

describe('the lease', () => {
  it('is refused while its owner lives, and the error names it', async () => {
    const child = spawn(process.execPath, [
      fileURLToPath(new URL('../../support/checkpoint-writer.ts', import.meta.url)),
      path,
    ])
    const printed = lines(child)
    await waitFor('the other process runs', () => printed.length > 0)
    const error = await failure(open().acquire('p', thisProcess()))
    child.kill('SIGKILL')
    expect(error).toBeInstanceOf(LeaseHeldError)
    expect(error.message).toContain(`process ${child.pid} on host ${hostname()}`)
  })

  it('is taken over at once when its owner is dead', async () => {
    await open().acquire('p', dead)
    expect((await open().acquire('p', thisProcess())).fence).toBe(2)
  })

  it('of another host is taken over only after it expired', async () => {
    let nowMs = 1000
    const store = open(path, () => ({ ofDayMs: nowMs, sinceBootMs: 0, boot: null }))
    const lease = await store.acquire('p', stranger)
    nowMs += 29_000
    await store.renew(lease)
    nowMs += 29_000
    expect(await failure(store.acquire('p', thisProcess()))).toBeInstanceOf(LeaseHeldError)
    nowMs += 2000
    expect((await store.acquire('p', thisProcess())).fence).toBe(2)
  })

  it.each([
    ['ahead', 3_600_000],
    ['back', -3_600_000],
  ])('neither ends early nor lasts longer when the clock is set an hour %s', async (_, aheadMs) => {
    let now: Moment = { ofDayMs: 10_000_000, sinceBootMs: 1000, boot: 'this start' }
    const store = open(path, () => now)
    const lease = await store.acquire('p', stranger)
    now = { ...now, ofDayMs: now.ofDayMs + aheadMs, sinceBootMs: 30_000 }
    expect((await failure(store.acquire('p', thisProcess()))).fix).toMatch(/ends by itself in 1 s/)
    await store.renew(lease)
    now = { ...now, ofDayMs: now.ofDayMs - aheadMs, sinceBootMs: 59_999 }
    expect(await failure(store.acquire('p', thisProcess()))).toBeInstanceOf(LeaseHeldError)
    now = { ...now, sinceBootMs: 60_000 }
    expect((await store.acquire('p', thisProcess())).fence).toBe(2)
  })

  it('that was taken before the machine was started again ends by the time of day', async () => {
    let now: Moment = { ofDayMs: 10_000_000, sinceBootMs: 50_000_000, boot: 'this start' }
    const store = open(path, () => now)
    await store.acquire('p', stranger)
    now = { ofDayMs: 10_029_000, sinceBootMs: 1000, boot: 'the next start' }
    expect(await failure(store.acquire('p', thisProcess()))).toBeInstanceOf(LeaseHeldError)
    now = { ...now, ofDayMs: 10_030_000 }
    expect((await store.acquire('p', thisProcess())).fence).toBe(2)
  })

  it('of an older version of the file ends by the time of day', async () => {
    let now: Moment = { ofDayMs: 10_000_000, sinceBootMs: 1000, boot: 'this start' }
    const store = open(path, () => now)
    await store.acquire('p', stranger)
    const file = new DatabaseSync(path)
    file.prepare('UPDATE lease SET owner = ?').run(JSON.stringify(stranger))
    file.close()
    now = { ...now, ofDayMs: 10_029_000, sinceBootMs: 40_000_000 }
    expect(await failure(store.acquire('p', thisProcess()))).toBeInstanceOf(LeaseHeldError)
    now = { ...now, ofDayMs: 10_030_000, sinceBootMs: 1000 }
    expect((await store.acquire('p', thisProcess())).fence).toBe(2)
  })

  it('is free after release, and its number still rises', async () => {
    const store = open()
    await store.release(await store.acquire('p', thisProcess()))
    expect((await open().acquire('p', stranger)).fence).toBe(2)
  })

  it('with an old number cannot save, renew or give back', async () => {
    const store = open()
    const old = await store.acquire('p', dead)
    const young = await store.acquire('p', thisProcess())
    expect(await failure(store.save(old, checkpoint))).toBeInstanceOf(LeaseLostError)
    expect(await failure(store.renew(old))).toBeInstanceOf(LeaseLostError)
    await store.release(old)
    await store.save(young, checkpoint)
    expect(await store.load('p')).toMatchObject(checkpoint)
  })

  it('of this process counts as alive, of a reused pid as dead', () => {
    expect(mayBeAlive(thisProcess())).toBe(true)
    expect(mayBeAlive(dead)).toBe(process.platform !== 'linux')
  })
})

function lines(child: ChildProcess): string[] {
  const out: string[] = []
  child.stdout!.setEncoding('utf8').on('data', (text: string) => out.push(...text.trim().split('\n')))
  child.stderr!.pipe(process.stderr)
  return out
}
