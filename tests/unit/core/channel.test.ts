import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Channel } from '../../../src/core/channel.ts'
import { ChannelClosedError } from '../../../src/core/error.ts'

interface Item {
  readonly number: number
  readonly byteSize: number
}

describe('a channel', () => {
  it('hands everything over once, in order, within its bound, however both sides are scheduled', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        sizes,
        fc.integer({ min: 1, max: 100 }),
        async (scheduler, all, capacity) => {
          const channel = new Channel<Item>(capacity)
          const read: number[] = []
          let most = 0
          const writer = (async () => {
            for (const [number, byteSize] of all.entries()) {
              await scheduler.schedule(Promise.resolve())
              const room = channel.write({ number, byteSize })
              most = Math.max(most, channel.bytes)
              // A promise is exactly the sign that the bound is reached.
              expect(room === undefined).toBe(channel.bytes < capacity)
              await room
            }
            channel.end()
          })()
          const reader = (async () => {
            for (;;) {
              await scheduler.schedule(Promise.resolve())
              const item = await channel.read()
              if (item === null) return
              read.push(item.number)
            }
          })()
          await scheduler.waitFor(Promise.all([writer, reader]))
          expect(read).toEqual(all.map((_, number) => number))
          expect(channel.bytes).toBe(0)
          // What is above the bound is at most the one item that crossed it.
          expect(most).toBeLessThan(capacity + 40)
        },
      ),
    )
  })

  it('gives an item straight to a reader that waits', async () => {
    const channel = new Channel<Item>(1)
    const next = channel.read()
    expect(channel.write({ number: 1, byteSize: 1000 })).toBeUndefined()
    expect(await next).toMatchObject({ number: 1 })
  })

  it('passes an item that is larger than the whole bound', async () => {
    const channel = new Channel<Item>(10)
    const room = channel.write({ number: 1, byteSize: 1000 })
    expect(room).toBeInstanceOf(Promise)
    expect(channel.read()).toMatchObject({ number: 1 })
    await room
  })

  it('can be read to the end after it ended, and takes nothing more', () => {
    const channel = new Channel<Item>(1000)
    void channel.write({ number: 1, byteSize: 1 })
    channel.end()
    expect(() => channel.write({ number: 2, byteSize: 1 })).toThrow(ChannelClosedError)
    expect(channel.read()).toMatchObject({ number: 1 })
    expect(channel.read()).toBeNull()
  })

  it('tells both sides when it fails', async () => {
    const full = new Channel<Item>(1)
    const room = full.write({ number: 1, byteSize: 1 })
    full.fail(new Error('over'))
    await expect(room).rejects.toThrow('over')
    expect(() => full.read()).toThrow('over')
    expect(() => full.write({ number: 2, byteSize: 1 })).toThrow('over')
    const empty = new Channel<Item>(1)
    const next = empty.read()
    empty.fail(new Error('over'))
    await expect(next).rejects.toThrow('over')
  })
})
