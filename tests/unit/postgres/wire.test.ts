import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'

import { CopyDecoder } from '../../../src/connectors/sources/postgres/copy-decoder.ts'
import { PgoutputDecoder } from '../../../src/connectors/sources/postgres/decoder.ts'
import { type FrameConsumer, Stop } from '../../../src/connectors/sources/postgres/frames.ts'
import { WireReader } from '../../../src/connectors/sources/postgres/wire.ts'
import type { RecordBatch } from '../../../src/core/batch.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { FakeSocket } from './fake-socket.ts'
import { begin, commit, decodedTable, insert, int32, relation, truncate } from './messages.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** A message of the frontend/backend protocol. */
function frame(type: string, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([Buffer.from(type), int32(bytes.length + 4), bytes])
}

function data(content: Buffer | string): Buffer {
  return frame('d', content)
}

function cut(bytes: Buffer, size: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn()
}

function copyDecoder(): CopyDecoder {
  return new CopyDecoder(decodedTable('t', { columns: [{ name: 'id' }, { name: 'v' }] }).schema, null, 1n)
}

/** Values of all rows of the batches. */
function rowsOf(batches: readonly RecordBatch[]): readonly unknown[] {
  return batches.flatMap((batch) =>
    [...batch].map((record) => (record._tag === 'Insert' ? record.after.toObject() : record._tag)),
  )
}

/** pgoutput messages as CopyData content, without the XLogData header; what is attended to is noted. */
class LogConsumer implements FrameConsumer {
  readonly decoder = new PgoutputDecoder('1', 0n, {})
  readonly attended: string[] = []
  readonly #onAttend: (what: string) => void | Promise<void>

  constructor(onAttend: (what: string) => void | Promise<void> = () => {}) {
    this.#onAttend = onAttend
    this.decoder.setTable(
      { oid: 1 },
      decodedTable('t', { columns: [{ name: 'id' }, { name: 'v', nullable: false }] }),
    )
  }

  get hasRows(): boolean {
    return this.decoder.hasRows
  }

  copyData(arena: Arena, start: number, end: number): Stop {
    return this.decoder.message(arena, start, end)
  }

  take(arena: Arena): RecordBatch {
    return this.decoder.take(arena)
  }

  async attend(): Promise<void> {
    const { attention } = this.decoder
    this.attended.push(attention!.kind)
    await this.#onAttend(attention!.kind)
    if (attention!.kind === 'nullable')
      this.decoder.setTable({ oid: 1 }, decodedTable('t', { columns: [{ name: 'id' }, { name: 'v' }] }))
  }
}

describe('the reader of the wire', () => {
  it('gives the same rows however the bytes are cut (one byte at a time included)', async () => {
    const stream = Buffer.concat([
      frame('H', '\0\0\x02\0\0\0\0'),
      ...Array.from({ length: 40 }, (_, index) => data(`${index}\t${'v'.repeat(index * 7)}\n`)),
      frame('c', ''),
      frame('C', 'COPY 40\0'),
      frame('Z', 'I'),
    ])
    const results: unknown[] = []
    for (const size of [stream.length, 1, 2, 3, 7, 64, 1000]) {
      const socket = new FakeSocket()
      const batches: RecordBatch[] = []
      const reader = new WireReader(socket.client, copyDecoder(), {
        write: (batch) => void batches.push(batch),
      })
      for (const chunk of cut(stream, size)) socket.receive(chunk)
      await reader.finish()
      results.push([
        rowsOf(batches),
        Buffer.concat(socket.forwarded).toString('latin1'),
        socket.forwarded.length,
      ])
    }
    expect(results[0]).toMatchObject([{ length: 40 }, expect.stringContaining('COPY 40'), 4])
    for (const result of results) expect(result).toEqual(results[0])
  })

  it('gives the same rows however the bytes are cut, over many batches (property)', async () => {
    const rows = Array.from({ length: 3000 }, (_, index) =>
      data(`${index}\t${'x'.repeat((index * 37) % 997)}\n`),
    )
    const stream = Buffer.concat(rows)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 1, maxLength: 30 }),
        async (sizes) => {
          const socket = new FakeSocket()
          const batches: RecordBatch[] = []
          const reader = new WireReader(socket.client, copyDecoder(), {
            write: (batch) => void batches.push(batch),
          })
          for (let at = 0, i = 0; at < stream.length; at += sizes[i++ % sizes.length]!) {
            socket.receive(stream.subarray(at, Math.min(stream.length, at + sizes[i % sizes.length]!)))
          }
          await reader.finish()
          expect(rowsOf(batches).map((row) => (row as { id: string }).id)).toEqual(
            rows.map((_, index) => String(index)),
          )
          expect(rowsOf(batches)).toContainEqual({ id: '2999', v: 'x'.repeat((2999 * 37) % 997) })
        },
      ),
      { numRuns: 20 },
    )
  })

  it('reads a row of 100 MB in chunks of 64 KB with work that is linear in its size', async () => {
    const size = 100_000_000
    const message = data(Buffer.concat([Buffer.from('1\t'), Buffer.alloc(size, 0x78), Buffer.from('\n')]))
    let copied = 0
    let allocated = 0
    const { copy, copyWithin } = Buffer.prototype
    vi.spyOn(Buffer.prototype, 'copy').mockImplementation(function (
      this: Buffer,
      ...args: Parameters<typeof copy>
    ) {
      const bytes = copy.apply(this, args)
      copied += bytes
      return bytes
    } as typeof copy)
    vi.spyOn(Buffer.prototype, 'copyWithin').mockImplementation(function (
      this: Buffer,
      ...args: Parameters<typeof copyWithin>
    ) {
      copied += ((args[2] as number | undefined) ?? this.length) - (args[1] as number)
      return copyWithin.apply(this, args)
    } as typeof copyWithin)
    const allocate = Buffer.allocUnsafeSlow
    vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((bytes) => {
      allocated += bytes
      return allocate(bytes)
    })
    const socket = new FakeSocket()
    const batches: RecordBatch[] = []
    const reader = new WireReader(socket.client, copyDecoder(), {
      write: (batch) => void batches.push(batch),
    })
    for (const chunk of cut(message, 65_536)) socket.receive(chunk)
    socket.receive(data('2\tsmall\n'))
    await reader.finish()
    expect(batches.reduce((sum, batch) => sum + batch.rowCount, 0)).toBe(2)
    // Once into the arena, at most twice more as the arena doubles, and once when it is cut; concatenating with every
    // chunk would copy it 700 times.
    expect(copied).toBeLessThan(size * 5)
    expect(allocated).toBeLessThan(size * 6)
  })

  it('gives the memory of a huge row back', async () => {
    const socket = new FakeSocket()
    const sizes: number[] = []
    const reader = new WireReader(socket.client, copyDecoder(), {
      write: (batch) => void sizes.push(batch.byteSize),
    })
    socket.receive(...cut(data(`1\t${'x'.repeat(20_000_000)}\n`), 65_536))
    await nextTurn()
    for (let i = 0; i < 100; i++) socket.receive(data(`${i}\t${'x'.repeat(60_000)}\n`))
    await reader.finish()
    expect(Math.max(...sizes.slice(-5))).toBeLessThan(2_000_000)
  })

  it('passes other messages to the listener of pg, whole and in order', async () => {
    const socket = new FakeSocket()
    const order: string[] = []
    socket.removeAllListeners('data')
    socket.on('data', (chunk: Buffer) => void order.push(chunk.toString('latin1', 0, 1)))
    const consumer: FrameConsumer = {
      hasRows: false,
      copyData: (arena, start, end) => {
        order.push(`data ${arena.toString('utf8', start, end)}`)
        return Stop.no
      },
      take: () => {
        throw new Error('nothing to take')
      },
      attend: () => Promise.resolve(),
    }
    const reader = new WireReader(socket.client, consumer, { write: () => {} })
    const stream = Buffer.concat([
      frame('N', 'notice'),
      data('1'),
      frame('S', 'parameter'),
      data(''),
      frame('E', 'error'),
      frame('Z', 'I'),
    ])
    for (const chunk of cut(stream, 5)) socket.receive(chunk)
    await reader.finish()
    expect(order).toEqual(['N', 'data 1', 'S', 'data ', 'E', 'Z'])
    // The socket is pg's again.
    socket.receive(frame('A', 'later'))
    expect(order.at(-1)).toBe('A')
  })

  it('hands over at the end of the turn, so that a single row does not wait for more', async () => {
    const socket = new FakeSocket()
    const batches: RecordBatch[] = []
    new WireReader(socket.client, copyDecoder(), { write: (batch) => void batches.push(batch) })
    socket.receive(data('1\ta\n'), data('2\tb\n'))
    expect(batches).toEqual([])
    await nextTurn()
    expect(rowsOf(batches)).toEqual([
      { id: '1', v: 'a' },
      { id: '2', v: 'b' },
    ])
  })
})

describe('back-pressure', () => {
  it('holds the socket while a batch waits, keeps what was on its way in order, and loses nothing', async () => {
    const socket = new FakeSocket()
    const batches: RecordBatch[] = []
    let release: () => void = () => {}
    const reader = new WireReader(socket.client, copyDecoder(), {
      write: (batch) => {
        batches.push(batch)
        return new Promise((resolve) => (release = resolve))
      },
    })
    expect(reader.drained).toBe(true)
    socket.receive(data('1\ta\n'))
    await nextTurn()
    expect(batches).toHaveLength(1)
    expect(socket.paused).toBe(true)
    expect(reader.drained).toBe(false)
    socket.receiveAnyway(data('2\tb\n'))
    const third = data('3\tc\n')
    socket.receiveAnyway(third.subarray(0, 4))
    socket.receiveAnyway(third.subarray(4))
    socket.receive(data('4\td\n'))
    await turns()
    expect(batches).toHaveLength(1)
    expect(socket.waiting).toBe(1)
    release()
    await turns()
    release()
    await turns()
    release()
    await turns()
    expect(socket.paused).toBe(false)
    expect(rowsOf(batches).map((row) => (row as { id: string }).id)).toEqual(['1', '2', '3', '4'])
    expect(reader.drained).toBe(true)
  })

  it('does not hold when there is room', async () => {
    const socket = new FakeSocket()
    new WireReader(socket.client, copyDecoder(), { write: () => {} })
    for (let i = 0; i < 50; i++) socket.receive(data(`${i}\t${'x'.repeat(50_000)}\n`))
    await nextTurn()
    expect(socket.pauses).toBe(0)
  })

  it('bounds what it holds: a batch is written before the arena grows for the next rows', async () => {
    const socket = new FakeSocket()
    const sizes: number[] = []
    new WireReader(socket.client, copyDecoder(), { write: (batch) => void sizes.push(batch.byteSize) })
    // All within one turn of the event loop.
    for (let i = 0; i < 2000; i++) socket.receive(data(`${i}\t${'x'.repeat(5000)}\n`))
    await nextTurn()
    expect(Math.max(...sizes)).toBeLessThan(1_000_000)
    expect(sizes.length).toBeGreaterThan(10)
  })
})

describe('attention', () => {
  it('is given with everything before handed over, and nothing after decoded', async () => {
    const socket = new FakeSocket()
    const events: string[] = []
    let go: () => void = () => {}
    const consumer = new LogConsumer((kind) => {
      events.push(kind)
      return new Promise<void>((resolve) => (go = resolve))
    })
    new WireReader(socket.client, consumer, {
      write: (batch) => void events.push(...[...batch].map(({ _tag }) => _tag)),
    })
    const messages = [
      begin(1n),
      insert(1, ['1', 'a']),
      truncate([1]),
      insert(1, ['2', 'b']),
      relation(9, 'x', []),
      insert(1, ['3', 'c']),
      commit(1n, 2n),
    ]
    socket.receive(Buffer.concat(messages.map(data)))
    await turns()
    expect(events).toEqual(['Begin', 'Insert', 'truncate'])
    expect(socket.paused).toBe(true)
    go()
    await turns()
    expect(events).toEqual(['Begin', 'Insert', 'truncate', 'Insert', 'relation'])
    go()
    await turns()
    expect(events.slice(5)).toEqual(['Insert', 'Commit'])
    expect(socket.paused).toBe(false)
  })

  it('decodes the message again that asked for it', async () => {
    const socket = new FakeSocket()
    const batches: RecordBatch[] = []
    const consumer = new LogConsumer()
    new WireReader(socket.client, consumer, { write: (batch) => void batches.push(batch) })
    for (const chunk of cut(
      Buffer.concat([begin(1n), insert(1, ['1', null]), insert(1, ['2', null]), commit(1n, 2n)].map(data)),
      3,
    ))
      socket.receive(chunk)
    await turns(10)
    expect(consumer.attended).toEqual(['nullable'])
    expect(rowsOf(batches)).toEqual(['Begin', { id: '1', v: null }, { id: '2', v: null }, 'Commit'])
  })

  it('can be asked for between two messages', async () => {
    const socket = new FakeSocket()
    const events: string[] = []
    const reader = new WireReader(socket.client, new LogConsumer(), {
      write: (batch) => void events.push(...[...batch].map(({ _tag }) => _tag)),
    })
    socket.receive(data(begin(1n)), data(insert(1, ['1', 'a'])))
    reader.between(async () => {
      await nextTurn()
      events.push('between')
    })
    socket.receiveAnyway(data(insert(1, ['2', 'b'])))
    await turns()
    expect(events).toEqual(['Begin', 'Insert', 'between', 'Insert'])
  })
})

describe('a failure', () => {
  it('of the decoder stops reading and is told once', async () => {
    const socket = new FakeSocket()
    const reader = new WireReader(socket.client, new LogConsumer(), { write: () => {} })
    socket.receive(data('?'), data(insert(1, ['1', 'a'])))
    await expect(reader.failure).rejects.toMatchObject({ code: 'postgres/unknown-message' })
    expect(socket.paused).toBe(true)
    socket.receiveAnyway(data(begin(1n)))
    expect(socket.forwarded).toEqual([])
  })

  it.each(['throws', 'rejects'])('of the writer stops reading: it %s', async (how) => {
    const socket = new FakeSocket()
    const error = new Error('closed')
    const reader = new WireReader(socket.client, copyDecoder(), {
      write: () => {
        if (how === 'throws') throw error
        return Promise.reject(error)
      },
    })
    socket.receive(data('1\ta\n'))
    await expect(reader.failure).rejects.toBe(error)
    expect(socket.paused).toBe(true)
    expect(reader.drained).toBe(how === 'throws')
  })

  it('of what attends is told', async () => {
    const socket = new FakeSocket()
    const reader = new WireReader(
      socket.client,
      new LogConsumer(() => Promise.reject(new Error('catalog'))),
      { write: () => {} },
    )
    socket.receive(data(begin(1n)), data(truncate([1])))
    await expect(reader.failure).rejects.toThrow('catalog')
  })

  it('does not come after a stop', async () => {
    const socket = new FakeSocket()
    const batches: RecordBatch[] = []
    const reader = new WireReader(socket.client, copyDecoder(), {
      write: (batch) => void batches.push(batch),
    })
    socket.receive(data('1\ta\n'))
    reader.stop()
    socket.receiveAnyway(data('x'))
    await turns()
    expect(batches).toEqual([])
    expect(socket.paused).toBe(true)
  })
})
