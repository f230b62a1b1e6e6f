import { describe, expect, it } from 'vitest'
import type { ChangeLog } from '../../../src/connectors/sinks/zero/change-log.ts'
import { unpackItems } from '../../../src/connectors/sinks/zero/chunk-items.ts'
import type { Answer, Chunk, ChunkItem, Request } from '../../../src/connectors/sinks/zero/log-messages.ts'
import { PositionWriter } from '../../../src/connectors/sinks/zero/position-text.ts'
import { WriteQueue } from '../../../src/connectors/sinks/zero/write-queue.ts'
import { CoreError } from '../../../src/core/error.ts'
import { place } from '../../support/zero-sink-run.ts'

const done: Answer = { kind: 'done', head: 0, waiting: false }

/** No file and no thread: keeps the chunks it is given, and answers when and how the test says. */
class FakeChangeLog implements Pick<ChangeLog, 'request' | 'positions'> {
  readonly positions = new PositionWriter(1)
  readonly asked: Chunk[] = []
  readonly stored: Chunk[] = []
  #failures = 0
  #hold: PromiseWithResolvers<void> | null = null

  /** The next requests fail. */
  fail(times: number): void {
    this.#failures = times
  }

  /** Answers nothing until the returned function is called. */
  hold(): () => void {
    this.#hold = Promise.withResolvers()
    return () => {
      this.#hold?.resolve()
      this.#hold = null
    }
  }

  async request(request: Request): Promise<Answer> {
    if (request.kind !== 'apply') throw new Error(`a queue has no business with ${request.kind}`)
    this.asked.push(request.chunk)
    await this.#hold?.promise
    if (this.#failures-- > 0) throw new CoreError('test/disk', 'the disk is full', { retryable: true })
    this.stored.push(request.chunk)
    return done
  }

  /** What was stored, as text; `|` is a commit, `/` the end of a chunk. */
  get text(): string {
    return this.stored.map(textOf).join('/')
  }
}

function textOf({ buffer, items }: Chunk): string {
  let start = 0
  return [...unpackItems(items)]
    .map(({ end, commit }) => {
      const text = Buffer.from(buffer.subarray(start, end)).toString() + (commit === null ? '' : '|')
      start = end
      return text
    })
    .join('')
}

/** Items of a batch: text ends with `|` where a transaction does. The position is `order`, if there is a commit. */
function add(queue: WriteQueue, text: string, order: number, fails = false): Promise<void> {
  return queue.add((records, items) => {
    const bytes = Buffer.from(text.replaceAll('|', ''))
    const parts = text.split('|')
    let committed = false
    for (const [index, part] of parts.entries()) {
      const isLast = index === parts.length - 1
      if (isLast && part === '') break
      records.copy(Buffer.from(part), 0, Buffer.byteLength(part))
      const commit = isLast ? null : { timeMs: order, order: String(order), partial: false }
      committed ||= commit !== null
      items.push({ end: records.at, origin: 'stream', commit } satisfies ChunkItem)
    }
    if (fails) throw new CoreError('test/poison', `one of ${bytes.length} bytes cannot be written`)
    return committed ? place(order) : null
  })
}

describe('what is written', () => {
  it('is durable once it is stored, up to the last commit', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, place(3))
    expect(queue.durable).toEqual(place(3))
    await add(queue, 'a|', 4)
    await queue.drain()
    expect(queue.durable).toEqual(place(4))
    expect(log.stored[0]!.position).toMatchObject({ order: place(4).order, partial: false })
    queue.forget()
    expect(queue.durable).toBeNull()
  })

  it('comes together while the log is busy, in order', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    for (let order = 2; order <= 5; order++) await add(queue, `${'bcde'[order - 2]}|`, order)
    expect(queue.durable).toBeNull()
    goOn()
    await queue.drain()
    expect(log.text).toBe('a|/b|c|d|e|')
    expect(queue.durable).toEqual(place(5))
  })

  it('waits when too much is on its way', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    let taken = false
    const large = add(queue, `${'x'.repeat(2 * 1024 * 1024)}|`, 2).then(() => (taken = true))
    await Promise.resolve()
    expect(taken).toBe(false)
    goOn()
    await large
    await queue.drain()
    expect(queue.durable).toEqual(place(2))
  })
})

describe('a batch that ends inside a transaction', () => {
  it('is cut at its last commit: what follows has no position to be durable with', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    await add(queue, 'b|c|de', 3)
    goOn()
    await queue.drain()
    expect(log.text).toBe('a|/b|c|/de')
    expect(log.stored.map(({ position }) => position?.order ?? null)).toEqual([
      place(1).order,
      place(3).order,
      null,
    ])
    expect(queue.durable).toEqual(place(3))
    await add(queue, 'f|', 4)
    await queue.drain()
    expect(log.text).toBe('a|/b|c|/de/f|')
    expect(queue.durable).toEqual(place(4))
  })

  it('does not hide the commit of a batch that came later', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    await add(queue, 'b', 2)
    await add(queue, 'c', 2)
    await add(queue, 'd|e', 2)
    goOn()
    await queue.drain()
    expect(log.text).toBe('a|/bcd|/e')
    expect(queue.durable).toEqual(place(2))
  })
})

describe('a write that fails', () => {
  /** Lets the thread answer. */
  const failing = () => new Promise((resolve) => setImmediate(resolve))

  it('is told by the next call, which takes nothing; repeated, everything is stored exactly once', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    log.fail(3)
    await add(queue, 'a|', 1)
    await failing()
    await expect(add(queue, 'b|', 2)).rejects.toThrow('the disk is full')
    await expect(add(queue, 'b|', 2)).rejects.toThrow('the disk is full')
    expect(queue.durable).toBeNull()
    await add(queue, 'b|', 2)
    await queue.drain()
    expect(log.text).toBe('a|/b|')
    expect(log.asked).toHaveLength(5)
    expect(queue.durable).toEqual(place(2))
  })

  it('hands over the same chunk again, with the same numbers of its parts', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    log.fail(1)
    await add(queue, 'a|', 1)
    await failing()
    await queue.drain()
    expect(log.asked).toHaveLength(2)
    expect(log.asked[1]).toBe(log.asked[0])
  })

  it('while more waits loses none of that', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    await add(queue, 'b|', 2)
    log.fail(2)
    goOn()
    await expect(queue.drain()).rejects.toThrow('the disk is full')
    await queue.drain()
    expect(log.text).toBe('a|/b|')
    expect(queue.durable).toEqual(place(2))
  })
})

describe('a batch that cannot be encoded', () => {
  it('leaves nothing behind; the next one is whole', async () => {
    const log = new FakeChangeLog()
    const queue = new WriteQueue(log, null)
    const goOn = log.hold()
    await add(queue, 'a|', 1)
    await add(queue, 'b|', 2)
    await expect(add(queue, 'xyz|half', 3, true)).rejects.toThrow('cannot be written')
    await add(queue, 'c|', 4)
    goOn()
    await queue.drain()
    expect(log.text).toBe('a|/b|c|')
    expect(queue.durable).toEqual(place(4))
  })
})
