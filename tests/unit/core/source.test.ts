import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { handOver } from '../../../src/core/source.ts'
import { heartbeat } from '../../support/batches.ts'

const batch = heartbeat(1)

/** Sources that use it stop in time, whatever their sink does. */
describe('handing a batch over', () => {
  it('costs nothing while there is room', () => {
    const { signal } = new AbortController()
    expect(handOver({ signal, write: () => {} }, batch)).toBeUndefined()
  })

  it('waits for room, and leaves nothing on the signal', async () => {
    const { signal } = new AbortController()
    const room = Promise.withResolvers<void>()
    const handed = handOver({ signal, write: () => room.promise }, batch)
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    room.resolve()
    await handed
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('does not wait any longer when the source shall stop', async () => {
    const controller = new AbortController()
    const room = Promise.withResolvers<void>()
    const { signal } = controller
    const handed = handOver({ signal, write: () => room.promise }, batch)
    controller.abort()
    await expect(handed).resolves.toBeUndefined()
    // What becomes of the room then is nobody's concern.
    room.reject(new Error('closed'))
  })

  it('does not wait when the writer itself asks for the stop', async () => {
    const controller = new AbortController()
    const write = (): Promise<void> => {
      controller.abort()
      return new Promise(() => {})
    }
    await expect(handOver({ signal: controller.signal, write }, batch)).resolves.toBeUndefined()
  })

  it('fails as the writer does', async () => {
    const { signal } = new AbortController()
    const write = (): Promise<void> => Promise.reject(new Error('closed'))
    await expect(handOver({ signal, write }, batch)).rejects.toThrow('closed')
  })
})
