import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { setAlarm } from '../../../src/connectors/sinks/zero/alarm.ts'

const DAY = 86_400_000

describe('an alarm', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }))
  afterEach(() => void vi.useRealTimers())

  it.each([1, 59_999, 60_000, 60_001, 25 * DAY, 50 * DAY])('rings after %i ms, once', (afterMs) => {
    const ring = vi.fn<() => void>()
    setAlarm(afterMs, Date.now, ring)
    vi.advanceTimersByTime(afterMs - 1)
    expect(ring).toHaveBeenCalledTimes(0)
    vi.advanceTimersByTime(1)
    expect(ring).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('rings at once when the moment has passed', () => {
    const ring = vi.fn<() => void>()
    setAlarm(-DAY, Date.now, ring)
    vi.advanceTimersByTime(1)
    expect(ring).toHaveBeenCalledTimes(1)
  })

  it('does not ring after it was called off, and leaves no timer', () => {
    const ring = vi.fn<() => void>()
    const cancel = setAlarm(40 * DAY, Date.now, ring)
    vi.advanceTimersByTime(30 * DAY)
    cancel()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(30 * DAY)
    expect(ring).not.toHaveBeenCalled()
  })

  it('rings when the clock is there, also when timers stood still meanwhile', () => {
    const ring = vi.fn<() => void>()
    let sleptMs = 0
    setAlarm(DAY, () => Date.now() + sleptMs, ring)
    sleptMs = DAY
    vi.advanceTimersByTime(60_001)
    expect(ring).toHaveBeenCalledTimes(1)
  })
})
