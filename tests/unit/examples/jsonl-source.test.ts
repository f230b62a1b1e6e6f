import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CoreError,
  ConnectionError,
  PoisonRecordError,
  PositionLostError,
  type RecordBatch,
  SchemaError,
  selectTables,
} from 'sluice'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sources } from '../../../examples/third-party-connector/index.ts'
import { recordingLog } from '../../support/memory-pipeline.ts'
import { waitFor } from '../../support/wait-for.ts'

const create = await sources[0]!.load()
const declaration = '{"table":"a.t","key":["id"],"columns":{"id":"int64","note":"text?"}}\n'
const insert = (id: number): string => `{"type":"insert","table":"a.t","key":{"id":${id}},"value":{}}\n`

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-jsonl-'))
  path = join(folder, 'log.jsonl')
  writeFileSync(path, declaration + insert(1))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function running() {
  const source = create({ path })
  await source.connect({
    pipeline: 'p',
    log: recordingLog(),
    now: Date.now,
    run: 1,
    tables: selectTables([]),
  })
  const controller = new AbortController()
  const batches: RecordBatch[] = []
  const done = source.stream({ signal: controller.signal, write: (batch) => void batches.push(batch) }, null)
  const failure = done.then(
    () => null,
    (error: unknown) => error as CoreError,
  )
  const run = {
    source,
    failure,
    rows: () => batches.reduce((sum, batch) => sum + batch.rowCount, 0),
    /** Waits until the source has looked at the file again, and found its end. */
    async looked() {
      const heartbeats = (): number => batches.filter(({ heartbeat }) => heartbeat !== null).length
      // The first may have been on its way.
      const goal = heartbeats() + 2
      await waitFor('the source says that it has read all', () => heartbeats() >= goal)
    },
    async stop() {
      controller.abort()
      expect(await failure).toBe(null)
    },
  }
  await run.looked()
  return run
}

describe('the source of JSON lines', () => {
  it('takes a line when its end is there', async () => {
    const run = await running()
    const half = insert(2)
    appendFileSync(path, half.slice(0, 20))
    await run.looked()
    appendFileSync(path, half.slice(20, -1))
    await run.looked()
    expect(run.rows()).toBe(1)
    appendFileSync(path, '\n')
    await run.looked()
    expect(run.rows()).toBe(2)
    await run.stop()
  })

  it.each([
    ['cut', () => truncateSync(path, declaration.length)],
    ['replaced by a longer one', () => replace(declaration + insert(1) + insert(2))],
    ['replaced by one that is the same', () => replace(declaration + insert(1))],
  ])('sees that the file was %s while it reads, and hands over nothing of it', async (_, change) => {
    const run = await running()
    change()
    const error = await run.failure
    expect(error).toBeInstanceOf(PositionLostError)
    expect(error).toMatchObject({ code: 'jsonl/position-lost', message: `${path} was replaced or cut` })
    expect(run.rows()).toBe(1)
  })

  it('goes on with a file that was copied to another place, but not with another one', async () => {
    const first = await running()
    const position = first.source.currentPosition()!
    await first.stop()
    replace(declaration + insert(1) + insert(2))
    expect(await resumed(position)).toEqual({ rows: 1, error: null })
    replace(declaration + insert(7) + insert(2))
    expect(await resumed(position)).toEqual({ rows: 0, error: 'jsonl/position-lost' })
    replace(declaration)
    expect(await resumed(position)).toEqual({ rows: 0, error: 'jsonl/position-lost' })
    // The lines end elsewhere, and the file is longer.
    replace(declaration + insert(1000) + insert(2))
    expect(await resumed(position)).toEqual({ rows: 0, error: 'jsonl/position-lost' })
  })

  it('can be tried again when there is no file', async () => {
    const run = await running()
    rmSync(path)
    const error = await run.failure
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ code: 'jsonl/unreadable', retryable: true })
    writeFileSync(path, '')
  })

  it.each([
    ['kit-cell', PoisonRecordError, 'core/not-json'],
    [
      '{"type":"insert","table":"a.t","key":{"id":2},"value":{"note":"kit-cell"}',
      PoisonRecordError,
      'core/not-json',
    ],
    ['null', PoisonRecordError, 'change/malformed'],
    ['["kit-cell"]', PoisonRecordError, 'change/malformed'],
    ['{"type":"upsert","table":"a.t","key":{"id":2},"value":{}}', PoisonRecordError, 'change/malformed'],
    ['{"type":"insert","table":"a.u","key":{"id":2},"value":{}}', SchemaError, 'change/unknown-table'],
    [
      '{"type":"insert","table":"a.t","key":{"id":"kit-cell"},"value":{}}',
      PoisonRecordError,
      'change/misfit',
    ],
    [
      '{"type":"insert","table":"a.t","key":{"id":2},"value":{"notes":"kit-cell"}}',
      SchemaError,
      'change/unknown-column',
    ],
    [declaration.trimEnd(), PoisonRecordError, 'change/malformed'],
    ['{"table":"a.u","key":["id"],"columns":{"id":"int24"}}', SchemaError, 'declaration/type'],
    ['{"table":"u","key":["id"],"columns":{"id":"int32"}}', SchemaError, 'declaration/name'],
    ['', PoisonRecordError, 'core/not-json'],
  ])('stops at the line %j, and says which it is and not what', async (line, type, code) => {
    const run = await running()
    appendFileSync(path, `${insert(2)}${line}\n${insert(3)}`)
    const error = await run.failure
    expect(error).toBeInstanceOf(type)
    expect(error).toMatchObject({ code, retryable: false })
    expect(error!.message).toMatch(new RegExp(` \\(line 4 of ${path}\\)$`))
    expect(`${error!.message} ${error!.fix} ${String(error!.cause)}`).not.toContain('kit-cell')
    expect(run.rows()).toBe(1)
  })

  it('stops at bytes that are not UTF-8', async () => {
    const run = await running()
    appendFileSync(
      path,
      Buffer.from('{"type":"insert","table":"a.t","key":{"id":2},"value":{"note":"\xff"}}\n', 'latin1'),
    )
    expect(await run.failure).toMatchObject({ code: 'core/not-json' })
  })
})

function replace(text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

/** What comes after a position, of the file as it is now. */
async function resumed(position: { readonly order: string; readonly resume: unknown }) {
  const source = create({ path })
  await source.connect({
    pipeline: 'p',
    log: recordingLog(),
    now: Date.now,
    run: 1,
    tables: selectTables([]),
  })
  const controller = new AbortController()
  let rows = 0
  const write = (batch: RecordBatch): void => {
    rows += batch.rowCount
    if (batch.heartbeat !== null) controller.abort()
  }
  const from = JSON.parse(JSON.stringify(position)) as typeof position & { resume: string }
  const error = await source.stream({ signal: controller.signal, write }, from).then(
    () => null,
    (thrown: unknown) => (thrown as CoreError).code,
  )
  return { rows, error }
}
