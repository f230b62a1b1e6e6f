import { describe, expect, it } from 'vitest'
import type { SourceBench } from '../../src/testkit/source/harness.ts'
import { sourceLaws } from '../../src/testkit/source/laws.ts'
import type { SourceLaw } from '../../src/testkit/source/trial.ts'
import { broken, withBench } from './broken-source.ts'
import { memoryHarness } from './memory-source.harness.ts'
import { postgresHarness } from './postgres.harness.ts'
import { BREAKAGES, MEANS } from './source-breakages.ts'

/** The kit itself: every law sees what it is about, and is content with a source that keeps it. */

function lawOf(id: string): SourceLaw {
  return sourceLaws.find((law) => law.id === id)!
}

describe('every law of sources', () => {
  it('has an id of its own, a title that starts with a verb, and something that breaks it', () => {
    const ids = sourceLaws.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(Object.keys(BREAKAGES).sort()).toEqual(ids.toSorted())
    for (const { title } of sourceLaws) expect(title).toMatch(/^[a-z]+s\b|^can\b/)
  })

  const unbroken = broken(memoryHarness, () => ({}))
  const kept = sourceLaws.filter(
    ({ id, applies }) => !(id in memoryHarness.waivers!) && applies?.(memoryHarness.capabilities) !== false,
  )
  it.each(kept)('is kept when nothing is broken: $id', async (law) => {
    await expect(law.check(unbroken)).resolves.toBeUndefined()
  })
})

describe('a broken source', () => {
  const cases = Object.entries(BREAKAGES).flatMap(([id, breakages]) =>
    breakages.map((breakage) => ({ id, ...breakage })),
  )
  it.concurrent.each(cases)(
    'breaks $id when it $does',
    { timeout: 60_000 },
    async ({ id, harness, complaint }) => {
      await expect(lawOf(id).check(harness)).rejects.toThrow(complaint)
    },
  )
})

describe('a harness that does not offer what a law needs', () => {
  it.each(Object.entries(MEANS))('does not make it pass: %s', async (means, id) => {
    const harness = withBench(postgresHarness, () => ({ [means]: undefined }) as Partial<SourceBench>)
    await expect(lawOf(id).check(harness)).rejects.toThrow(
      `the law needs "${means}" of the bench: offer it, or waive the law`,
    )
  })
})
