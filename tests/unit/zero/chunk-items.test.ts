import { expect, test } from 'vitest'
import { packItems, unpackItems } from '../../../src/connectors/sinks/zero/chunk-items.ts'
import type { ChunkItem } from '../../../src/connectors/sinks/zero/log-messages.ts'

test('items are the same after their way to another thread', () => {
  const items: readonly ChunkItem[] = [
    { end: 0, origin: 'stream', commit: { timeMs: null, order: 'a.1', partial: true } },
    { end: 10, origin: 'snapshot', commit: null },
    { end: 10, origin: 'snapshot', commit: { timeMs: 0, order: '', partial: true } },
    { end: 2 ** 33, origin: 'stream', commit: { timeMs: 1_763_746_000_123.456, order: '', partial: false } },
    { end: 2 ** 33 + 1, origin: 'stream', commit: { timeMs: -1, order: 'a.2', partial: false } },
    { end: 2 ** 33 + 2, origin: 'stream', commit: null },
  ]
  expect([...unpackItems(structuredClone(packItems(items)))]).toEqual(items)
  expect([...unpackItems(packItems([]))]).toEqual([])
})
