/** The change log of the Zero sink when its process dies, its disk is full, or somebody else has its file. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { RecordBatch } from '../../src/core/batch.ts'
import { type CoreError, toCoreError } from '../../src/core/error.ts'
import { table } from '../support/memory-pipeline.ts'
import { type Random, seeded } from '../support/random.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroInspector } from '../support/zero-inspector.ts'
import { ZeroModel } from '../support/zero-model.ts'
import type { Said } from '../support/zero-sink-child.ts'
import { codeOf, place, ZeroSinkRun } from '../support/zero-sink-run.ts'
import { perform, Story } from '../support/zero-story.ts'

const KILLS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 30)
/** Looks at the files of a process that is held still, per life: a kill at that moment would have left the same. */
const IMAGES = 4
/** Files that are written and killed beside each other. */
const LANES = 3

const folders: string[] = []
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) await kill(child)
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-zero-chaos-'))
  folders.push(folder)
  return folder
}

function start(path: string, seed: number, mode: 'write' | 'hold', said: (what: Said) => void): ChildProcess {
  const child = fork(join(import.meta.dirname, '../support/zero-sink-child.ts'), [path, String(seed), mode])
  child.on('message', said)
  children.push(child)
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

it(
  `position, rows, log and watermarks are of the same moment after each of ${KILLS} kills (WS-1)`,
  { timeout: 60_000 + KILLS * 5000 },
  async () => {
    const random = seeded('kills of the Zero sink')
    let left = KILLS
    const steps: number[] = []
    await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        const seed = random.below(1_000_000) + lane
        const path = join(newFolder(), 'changes.db')
        await firstCopy(path, seed)
        const inspector = new ZeroInspector(path, seed)
        inspector.look(path, 0)
        while (left-- > 0) inspector.look(path, await life(path, seed, inspector, random))
        steps.push(inspector.step)
      }),
    )
    console.log(`${KILLS} kills, ${steps.join(' + ')} steps`)
    expect(steps.reduce((sum, step) => sum + step, 0)).toBeGreaterThan(KILLS)
  },
)

/** One life of the process; returns what it called durable. */
async function life(path: string, seed: number, inspector: ZeroInspector, random: Random): Promise<number> {
  let durable = -1
  let failure: string | null = null
  const child = start(path, seed, 'write', (said) => {
    if (said.kind === 'failed') failure = said.code
    else durable = said.step
  })
  // Sometimes it dies while the file is opened; there is no answer to wait for.
  if (random.chance(0.15)) await delay(random.below(600))
  else {
    await waitFor('it has begun', () => durable >= 0 || failure !== null)
    for (let image = 0; image < IMAGES && failure === null; image++) {
      // A moment, not a condition: where the process is killed is what is random here.
      await delay(random.below(40))
      const known = durable
      inspector.look(await imageOf(child, path), known)
    }
    await delay(random.below(40))
  }
  await kill(child)
  if (failure !== null) throw new Error(`the sink failed: ${String(failure)}`)
  return durable
}

/** The files as they are at one moment. */
async function imageOf(child: ChildProcess, path: string): Promise<string> {
  const image = join(path, '..', 'image', 'changes.db')
  rmSync(join(image, '..'), { recursive: true, force: true })
  mkdirSync(join(image, '..'))
  child.kill('SIGSTOP')
  await waitFor('it stands still', () =>
    /^State:\tT/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')),
  )
  // The index of the log in memory is made anew by whoever opens what a dead process left.
  for (const end of ['', '-wal']) copyFileSync(`${path}${end}`, `${image}${end}`)
  child.kill('SIGCONT')
  return image
}

async function firstCopy(path: string, seed: number): Promise<void> {
  const story = new Story(seed)
  const run = await ZeroSinkRun.start([story.schema], { path })
  await perform(run.sink, story.firstCopy(), true)
  await run[Symbol.asyncDispose]()
}

describe('the file of the change log (WS-3)', () => {
  const users = table('users')

  it('is made with its directory, and nobody else may read it', async () => {
    const path = join(newFolder(), 'not', 'there', 'changes.db')
    await using run = await ZeroSinkRun.start([users], { path })
    await run.copy(users, [{ id: 1, name: 'Ann', note: null }])
    const names = readdirSync(join(path, '..'))
    expect(names.toSorted()).toEqual([
      'changes.db',
      'changes.db-lock',
      'changes.db-lock-journal',
      'changes.db-shm',
      'changes.db-wal',
    ])
    for (const name of names) expect(statSync(join(path, '..', name)).mode & 0o777, name).toBe(0o600)
  })

  it('that another process has is refused; when that is gone it is taken', async () => {
    const path = join(newFolder(), 'changes.db')
    await firstCopy(path, 1)
    const said: Said[] = []
    const child = start(path, 1, 'hold', (what) => said.push(what))
    await waitFor('the other process has it', () => said.length > 0)
    expect(said).toEqual([{ kind: 'durable', step: 0 }])
    expect(await codeOf(ZeroSinkRun.start([users], { path }))).toBe('zero/log-in-use')
    await kill(child)
    await using run = await ZeroSinkRun.start([users], { path })
    // And another sink of this process is refused too.
    expect(await codeOf(ZeroSinkRun.start([users], { path }))).toBe('zero/log-in-use')
    await run.heartbeat()
  })

  it('in a place where no file can be is refused', async () => {
    const folder = newFolder()
    const error = await ZeroSinkRun.start([users], { path: folder }).then(
      () => null,
      (reason: unknown) => toCoreError(reason),
    )
    expect(error?.code).toBe('zero/log-unwritable')
    expect(error?.message).toContain(folder)
    expect(await codeOf(ZeroSinkRun.start([users], { path: '/dev/null/changes.db' }))).toBe(
      'zero/log-unwritable',
    )
  })

  it('that is something else is left alone', async () => {
    const path = join(newFolder(), 'changes.db')
    const other = new DatabaseSync(path)
    other.exec('CREATE TABLE theirs (id INTEGER)')
    other.close()
    expect(await codeOf(ZeroSinkRun.start([users], { path }))).toBe('zero/log-foreign')
    const again = new DatabaseSync(path)
    expect(again.prepare('SELECT name FROM sqlite_schema').all()).toEqual([{ name: 'theirs' }])
    again.close()
  })
})

describe('the disk of the change log (WS-3)', () => {
  const users = table('users')
  let disk: SmallDisk
  /** Why there is no small disk, if there is none. */
  let missing: string | null = null

  beforeAll(() => {
    const mounted = SmallDisk.mount(16)
    if (typeof mounted === 'string') console.log(`skipped: ${(missing = mounted)}`)
    else disk = mounted
  })

  afterAll(() => disk?.[Symbol.dispose]())

  it('that is full stops acknowledgement; nothing is lost, and with space it goes on', async (test) => {
    if (missing !== null) return test.skip(missing)
    const path = join(disk.folder, 'full', 'changes.db')
    const run = await ZeroSinkRun.start([users], { path })
    try {
      await run.copy(users, [{ id: 0, name: 'first', note: null }])
      const [snapshot, live] = await run.follow()
      const durable = run.durable!.order
      disk.fill()
      const note = 'x'.repeat(20_000)
      const batches = Array.from({ length: 20 }, (_, index) =>
        run.transaction((rows) => rows.insert(users, { id: index + 1, name: 'more', note })),
      )
      // As the runtime does: the same batch again after an error that may be repeated.
      const errors: CoreError[] = []
      const acknowledged: boolean[] = []
      for (const batch of batches) {
        for (let error = await write(run, batch); error !== null; error = await write(run, batch)) {
          errors.push(error)
          acknowledged.push(run.durable!.order >= batch.position!.order)
          if (errors.length >= 3) disk.free()
          if (errors.length > 10) throw error
        }
      }
      expect(errors.length).toBeGreaterThanOrEqual(3)
      for (const error of errors) {
        expect(error).toMatchObject({ code: 'zero/log-disk-full', retryable: true })
        expect(error.message).toContain(path)
      }
      expect(acknowledged).not.toContain(true)
      expect(run.durable!.order > durable).toBe(true)
      const model = new ZeroModel()
      model.follow(snapshot.transactions)
      await live.until('all rows', () => {
        model.follow(live.transactions)
        return model.rows('users').length === 21
      })
      await run.stop()
      expect(await run.start([users])).toEqual(place(run.order))
      const again = await run.subscribe()
      await again.until('the snapshot', () => again.transactions.length === 1)
      const fresh = new ZeroModel()
      fresh.follow(again.transactions)
      expect(fresh.rows('users')).toHaveLength(21)
    } finally {
      disk.free()
      await run[Symbol.asyncDispose]()
      rmSync(join(disk.folder, 'full'), { recursive: true, force: true })
    }
  })

  it('that is full at the start is reported, and can be used once there is space', async (test) => {
    if (missing !== null) return test.skip(missing)
    const path = join(disk.folder, 'late', 'changes.db')
    disk.fill()
    try {
      expect(await codeOf(ZeroSinkRun.start([users], { path }))).toBe('zero/log-disk-full')
      disk.free()
      await using run = await ZeroSinkRun.start([users], { path })
      await run.copy(users, [{ id: 0, name: 'first', note: null }])
      expect(run.durable).toEqual(place(run.order))
    } finally {
      disk.free()
      rmSync(join(disk.folder, 'late'), { recursive: true, force: true })
    }
  })

  it('that is read-only is refused', async (test) => {
    if (missing !== null) return test.skip(missing)
    const path = join(disk.folder, 'changes.db')
    await firstCopy(path, 1)
    disk.freeze(true)
    try {
      const error = await ZeroSinkRun.start([users], { path }).then(
        () => null,
        (reason: unknown) => toCoreError(reason),
      )
      expect(error).toMatchObject({ code: 'zero/log-unwritable', retryable: false })
      expect(error!.message).toContain(path)
      expect(error!.fix).toContain('another path')
    } finally {
      disk.freeze(false)
    }
    await using run = await ZeroSinkRun.start([users], { path })
    await run.heartbeat()
    expect(existsSync(path)).toBe(true)
  })
})

/** What the write fails with, if it does. */
async function write(run: ZeroSinkRun, batch: RecordBatch): Promise<CoreError | null> {
  return run.write(batch).then(
    () => null,
    (error: unknown) => toCoreError(error),
  )
}
