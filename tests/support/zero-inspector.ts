import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { FrameBuffer } from '../../src/connectors/sinks/zero/frame-buffer.ts'
import { type Entry, LogReader, type LogSnapshot } from '../../src/connectors/sinks/zero/log-reader.ts'
import { watermarkText } from '../../src/connectors/sinks/zero/messages.ts'
import { Publications } from '../../src/connectors/sinks/zero/publications.ts'
import { View } from '../../src/connectors/sinks/zero/view.ts'
import { ZeroModel } from './zero-model.ts'
import { Story } from './zero-story.ts'
import type { ZeroTransaction } from './zero-subscriber.ts'

/** Bytes of the log that are read at once. */
const READ_BYTES = 1024 * 1024

/** Looks at a file that nobody writes: is everything in it of the same moment? */
export class ZeroInspector {
  readonly #seed: number
  readonly #model = new ZeroModel()
  #seq: number
  #story: Story
  /** Of the last look. */
  step = 0

  /** The file has the first copy of the story and nothing else. */
  constructor(path: string, seed: number) {
    this.#seed = seed
    this.#story = new Story(seed)
    const reader = new LogReader(path)
    const snapshot = reader.snapshot()
    this.#model.apply({
      watermark: watermarkText(snapshot.watermark),
      changes: new Shown(reader).state(snapshot),
    })
    this.#seq = reader.lastEntryOf(snapshot.watermark)!
    snapshot.close()
    reader.close()
  }

  /** Throws when position, rows, log and watermarks do not fit together, or something that was durable is missing. */
  look(path: string, durable: number): void {
    const db = new DatabaseSync(path)
    assert.equal(db.prepare('PRAGMA integrity_check').get()!['integrity_check'], 'ok')
    const meta = (name: string) =>
      (db.prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: string }).value
    const { order } = JSON.parse(meta('position')) as { order: string }
    const state = JSON.parse(meta('state')) as { head: number; open: number | null; waiting: boolean }
    const unordered = db
      .prepare('SELECT 1 FROM log AS a JOIN log AS b ON b.seq = a.seq + 1 WHERE b.watermark < a.watermark')
      .all()
    const { span, count } = db
      .prepare('SELECT max(seq) - min(seq) + 1 AS span, count(*) AS count FROM log')
      .get() as { span: number; count: number }
    const { last } = db.prepare('SELECT max(watermark) AS last FROM log').get() as { last: number }
    db.close()
    assert.deepEqual(unordered, [], 'watermarks rise with the entries')
    assert.equal(span, count, 'no entry is missing')
    assert.equal(last, state.open ?? state.head, 'the last entry is of the head, or of what is open')
    const step = Number(order)
    assert.ok(step >= Math.max(durable, this.step), `step ${step} although ${durable} was durable`)
    const whole = Story.wholeStep(step)
    // A copy may have begun without a position that says so.
    const begun = Story.wholeStep(step + 1) === step
    if (!(begun && state.waiting)) assert.equal(state.waiting, whole !== step, `waiting after step ${step}`)
    const story = this.#storyAt(whole)
    const reader = new LogReader(path)
    try {
      for (const transaction of this.#transactions(reader, state.head)) this.#model.apply(transaction)
      assert.equal(this.#model.watermark, watermarkText(state.head))
      assert.deepEqual(this.#model.rows('users'), story.cells, `rows of step ${whole} by the log`)
      if (!state.waiting) {
        const model = new ZeroModel()
        const snapshot = reader.snapshot()
        model.apply({
          watermark: watermarkText(snapshot.watermark),
          changes: new Shown(reader).state(snapshot),
        })
        snapshot.close()
        assert.deepEqual(model.rows('users'), story.cells, `rows of step ${whole} as they are kept`)
        assert.equal(model.columns('users').length, story.schema.columns.length)
      }
    } finally {
      reader.close()
    }
    this.step = step
  }

  #storyAt(step: number): Story {
    if (step < this.#story.step) this.#story = Story.at(this.#seed, step)
    while (this.#story.step < step) this.#story.next()
    return this.#story
  }

  *#transactions(reader: LogReader, head: number): Generator<ZeroTransaction> {
    const shown = new Shown(reader)
    let open = null as { watermark: number; changes: ZeroTransaction['changes'] } | null
    for (;;) {
      const reading = reader.read(this.#seq, head, READ_BYTES)
      assert.ok(reading !== null)
      for (const entry of reading.entries) {
        if (open !== null && open.watermark !== entry.watermark) {
          yield { ...open, watermark: watermarkText(open.watermark) }
          open = null
        }
        const changes = shown.entry(entry)
        open = { watermark: entry.watermark, changes: [...(open?.changes ?? []), ...changes] }
        this.#seq = entry.seq
      }
      if (reading.isEnd) break
    }
    if (open !== null) yield { ...open, watermark: watermarkText(open.watermark) }
  }
}

/** The changes that whoever sees everything would get. */
class Shown {
  readonly #view: View
  readonly #out = new FrameBuffer()

  constructor(reader: LogReader) {
    const options = {
      publications: [],
      extraColumns: () => [],
      isInternal: () => false,
      permissions: () => [],
    }
    this.#view = new View(options, new Publications({}), (id) => reader.version(id))
  }

  entry(entry: Entry): ZeroTransaction['changes'] {
    this.#view.entry(entry, this.#out)
    return this.#take()
  }

  state(snapshot: LogSnapshot): ZeroTransaction['changes'] {
    for (const stored of snapshot.tables) {
      const table = this.#view.compile(stored.version)!
      for (const message of this.#view.create(table)) this.#out.message(message)
      for (const { key, cells } of snapshot.rows(stored)) table.frames.stored(key, cells, this.#out)
    }
    return this.#take()
  }

  #take(): ZeroTransaction['changes'] {
    const messages = this.#out
      .take()
      .map((message) => JSON.parse(message.toString()) as ['data', ZeroTransaction['changes'][number]])
    return messages.map(([, change]) => change)
  }
}
