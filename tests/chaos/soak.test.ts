import { describe, expect, it } from 'vitest'
import { seeded } from '../support/random.ts'
import { memoryFaults, type Segment } from '../support/soak/memory.ts'
import { soakOptions } from '../support/soak/options.ts'
import { reportLines } from '../support/soak/report.ts'
import { soak } from '../support/soak/soak.ts'

const minutes = Number(process.env['SLUICE_SOAK_MINUTES'] ?? 2)

it(
  `${minutes} minutes of load and faults: recovers from each, memory is flat, equal at the end`,
  async () => {
    const { seed } = seeded('soak')
    const report = await soak({ minutes, seed, log: (line) => process.stdout.write(`soak ${line}\n`) })
    process.stdout.write(`${reportLines(report).join('\n')}\n`)
    expect(report.wrong).toEqual([])
    expect(report.commits).toBeGreaterThan(minutes * 100)
  },
  minutes * 60_000 + 300_000,
)

describe('the memory of a process', () => {
  const segment = (...mb: readonly number[]): Segment => ({
    pid: 1,
    samples: mb.map((one) => ({ mb: one, steady: true })),
  })
  const minute = (at: (second: number) => number): Segment =>
    segment(...Array.from({ length: 60 }, (_, second) => Math.round(at(second))))

  it('may grow to a plateau, and may swing', () => {
    expect(memoryFaults([minute((second) => Math.min(200, 120 + 8 * second))], 16)).toEqual([])
    expect(memoryFaults([minute((second) => 160 + 60 * Math.sin(second))], 16)).toEqual([])
  })

  it('must not grow on and on', () => {
    expect(memoryFaults([minute((second) => 60 + 4 * second)], 16)).toEqual([
      'process 1 grows: 180 MB in the second third, 260 MB in the last',
    ])
  })

  it('must stay within the budget at every moment, also under a fault', () => {
    const { pid, samples } = segment(150, 150)
    const found = memoryFaults([{ pid, samples: [...samples, { mb: 400, steady: false }] }], 16)
    expect(found).toEqual(['process 1 took 400 MB; the budget is 384 MB'])
  })
})

describe('npm run soak', () => {
  it('takes minutes and seed, and has defaults for both', () => {
    expect(soakOptions(['--minutes', '2.5', '--seed', '7'])).toEqual({ minutes: 2.5, seed: 7, json: false })
    expect(soakOptions(['--json'])).toMatchObject({ minutes: 10, json: true })
  })

  it.each([
    [['--minutes', 'ten'], '--minutes must be a number from 0.5 to 10000, not "ten"'],
    [['--minutes', '0'], '--minutes must be a number from 0.5 to 10000, not "0"'],
    [['--seed', '1.5'], '--seed must be a whole number from 0 to 4294967295, not "1.5"'],
    [['--seed', '-1'], /--seed/],
    [['--minute', '2'], /--minute/],
    [['2'], /'2'/],
  ])('refuses %j', (args, message) => {
    expect(() => soakOptions(args)).toThrow(message)
  })
})
