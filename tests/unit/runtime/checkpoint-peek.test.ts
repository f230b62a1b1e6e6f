import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryCheckpointStore } from '../../../src/runtime/checkpoint/memory.ts'
import { after, type Moment, thisMoment } from '../../../src/runtime/checkpoint/moment.ts'
import { thisProcess } from '../../../src/runtime/checkpoint/owner.ts'
import { SqliteCheckpointStore } from '../../../src/runtime/checkpoint/sqlite.ts'
import { type Checkpoint, type CheckpointStore, leaseTtlMs } from '../../../src/runtime/checkpoint/store.ts'

const checkpoint: Checkpoint = { position: { order: '1', resume: 7 }, source: 'memory', sinks: ['a'] }
const nothing = { checkpoint: null, runner: null }

let directory: string
let path: string
let stores: CheckpointStore[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-peek-'))
  path = join(directory, 'checkpoints.db')
})

afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()))
  stores = []
  rmSync(directory, { recursive: true })
})

function open(now?: () => Moment): SqliteCheckpointStore {
  const store = new SqliteCheckpointStore(path, now)
  stores.push(store)
  return store
}

describe('a look at a checkpoint store', () => {
  it.each(['sqlite', 'memory'])('shows the checkpoint and who runs the pipeline: %s', async (kind) => {
    const store = kind === 'sqlite' ? open() : new MemoryCheckpointStore()
    const other = kind === 'sqlite' ? open() : store
    expect(await other.peek('p')).toEqual(nothing)
    const lease = await store.acquire('p', thisProcess())
    expect(await other.peek('p')).toEqual({ checkpoint: null, runner: thisProcess() })
    await store.save(lease, checkpoint)
    expect(await other.peek('p')).toEqual({ checkpoint, runner: thisProcess() })
    expect(await other.peek('q')).toEqual(nothing)
    await store.release(lease)
    expect(await other.peek('p')).toEqual({ checkpoint, runner: null })
  })

  it('makes no file, and changes none', async () => {
    expect(await open().peek('p')).toEqual(nothing)
    expect(existsSync(path)).toBe(false)
    const store = open()
    await store.save(await store.acquire('p', thisProcess()), checkpoint)
    await store.close()
    const before = readFileSync(path)
    expect(await open().peek('p')).toMatchObject({ checkpoint })
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  it('shows nobody when the runner is gone, or did not renew its lease', async () => {
    const store = open()
    await store.acquire('gone', { host: hostname(), pid: 1, startedAt: 'another boot/1' })
    expect(await open().peek('gone')).toEqual(nothing)
    await store.acquire('silent', thisProcess())
    expect(await open(() => after(thisMoment(), leaseTtlMs - 5000)).peek('silent')).toMatchObject({
      runner: { pid: process.pid },
    })
    expect(await open(() => after(thisMoment(), leaseTtlMs + 5000)).peek('silent')).toEqual(nothing)
  })

  it('says what is wrong with a file that is no database', async () => {
    writeFileSync(path, 'x'.repeat(10_000))
    await expect(open().peek('p')).rejects.toMatchObject({ code: 'checkpoint/corrupt' })
  })
})
