import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { SinkHarness } from '../../src/testkit/index.ts'
import { verdicts } from '../../src/testkit/law.ts'
import { sinkLaws } from '../../src/testkit/sink/laws.ts'
import { withBench } from './broken-sink.ts'
import { keepingSinkHarness, memorySinkHarness } from './memory-sink.harness.ts'
import { breakages, keyChanging } from './sink-breakages.ts'

/** The laws that have to hold for a subject. */
const required = (harness: SinkHarness) =>
  verdicts(sinkLaws, harness).flatMap(({ law, status }) => (status === 'required' ? [law] : []))
const law = (id: string) => sinkLaws.find((one) => one.id === id)!

// The broken ones are made of these; that ClickHouse keeps the laws is proven in clickhouse.test.ts.
describe.each([
  ['that is durable with every write', memorySinkHarness('write')],
  ['that keeps its position', keepingSinkHarness()],
])('a sink %s', (_, harness) => {
  it.each(required(harness).map((one) => [one.id, one] as const))('keeps %s', (_id, one) =>
    expect(one.check(harness)).resolves.toBeUndefined(),
  )
})

it('a sink that can change keys keeps change-key', () =>
  expect(law('change-key').check(keyChanging())).resolves.toBeUndefined())

describe('a law of sinks', () => {
  // One history in some hundred does not show a flaw; here it is about laws, not about luck.
  beforeAll(() => void vi.stubEnv('SLUICE_SEED', '1'))
  afterAll(() => void vi.unstubAllEnvs())

  it('has an id of its own, and a sink that breaks it', () => {
    const ids = sinkLaws.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(Object.keys(breakages).toSorted()).toEqual(ids.toSorted())
  })

  const all = Object.entries(breakages).flatMap(([id, some]) =>
    some.map((breakage) => [id, breakage.flaw, breakage] as const),
  )
  it.each(all)('%s is broken by a sink that %s', async (id, _flaw, { subject, says }) => {
    const harness = subject()
    expect(law(id).applies?.(harness.capabilities) ?? true).toBe(true)
    await expect(law(id).check(harness)).rejects.toThrow(says)
  })

  it.each([
    ['rejected-row', 'refuseRow'],
    ['partial-success', 'refuseRow'],
    ['durable-survives-crash', 'crash'],
    ['cut-during-write', 'address'],
  ] as const)('%s fails when the bench does not offer %s', async (id, means) => {
    const harness = withBench(memorySinkHarness('write'), () => ({ [means]: undefined }))
    await expect(law(id).check(harness)).rejects.toThrow(`no \`${means}\`: offer it, or waive the law`)
  })

  it('ends what it has opened, also when it is broken', async () => {
    let open = 0
    const counted = withBench(breakages['inserts']![0].subject(), (bench) => {
      open++
      return {
        [Symbol.asyncDispose]: () => {
          open--
          return bench[Symbol.asyncDispose]()
        },
      }
    })
    await expect(law('inserts').check(counted)).rejects.toThrow('is missing')
    expect(open).toBe(0)
  })

  it('names the seed with which it fails again', async () => {
    const [{ subject }] = breakages['inserts']!
    await expect(law('inserts').check(subject())).rejects.toThrow(/repeat with SLUICE_SEED=\d+/)
  })
})
