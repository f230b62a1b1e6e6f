import { describe, expect, it } from 'vitest'
import { Telemetry } from '../../../src/runtime/telemetry.ts'
import { at, copied, heartbeat, transaction, transactions } from '../../support/batches.ts'

const gauges = { copy: null, sinks: [] }

describe('the status', () => {
  it('counts copied rows, changes and transactions', () => {
    const telemetry = new Telemetry()
    telemetry.read(copied(1, 2, 3))
    telemetry.read(transactions([1, 1, 2], [2, 3], [-3, 4]))
    expect(telemetry.status('p', gauges, 0)).toMatchObject({
      rowsCopied: 3,
      changes: 4,
      transactions: 2,
      lagMs: null,
    })
  })

  it('has the age of the newest durable change as lag', () => {
    const telemetry = new Telemetry()
    telemetry.read(transaction(1, 1))
    telemetry.read(transaction(2, 2))
    expect(telemetry.status('p', gauges, 5000).lagMs).toBeNull()
    telemetry.durable(at(1), 1500)
    expect(telemetry.status('p', gauges, 5000).lagMs).toBe(4000)
  })

  it('has no lag once a heartbeat says that the log has ended', () => {
    const telemetry = new Telemetry()
    telemetry.read(transaction(1, 1))
    telemetry.read(heartbeat(1))
    telemetry.durable(at(1), 1500)
    expect(telemetry.status('p', gauges, 9000).lagMs).toBe(0)
    telemetry.read(heartbeat(1))
    expect(telemetry.status('p', gauges, 9000).lagMs).toBe(0)
    telemetry.read(transaction(2, 1))
    expect(telemetry.status('p', gauges, 9000).lagMs).toBe(8000)
  })

  it('measures the time from commit to durable', () => {
    const telemetry = new Telemetry()
    for (let number = 1; number <= 100; number++) {
      telemetry.read(transaction(number, 1))
      telemetry.durable(at(number), number * 1000 + number)
    }
    expect(telemetry.status('p', gauges, 0).latencyMs).toEqual({ p50: 51, p99: 100 })
  })
})
