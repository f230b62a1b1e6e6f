import { describe, expect, it } from 'vitest'
import { seeded } from '../support/random.ts'
import { memoryFaults, type Sample } from '../support/soak/memory.ts'
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
  const minute = (liveMb: (second: number) => number, rssMb: (second: number) => number = () => 200) => {
    const seconds = Array.from({ length: 60 }, (_, second) => second)
    const round = (at: (second: number) => number) => (second: number) => Math.round(at(second))
    return seconds.map((second): Sample => ({
      liveMb: round(liveMb)(second),
      rssMb: round(rssMb)(second),
      steady: true,
    }))
  }
  const faults = (samples: readonly Sample[]) => memoryFaults([{ pid: 1, samples }], 16)

  it('may grow to a plateau, and may swing', () => {
    expect(faults(minute((second) => Math.min(60, 20 + 4 * second)))).toEqual([])
    expect(faults(minute((second) => 50 + 30 * Math.sin(second)))).toEqual([])
  })

  it('must not grow on and on', () => {
    expect(faults(minute((second) => (second < 40 ? 20 : 70)))).toEqual([
      'process 1: live memory grows: 20 MB in the second third, 70 MB in the last',
    ])
    expect(
      faults(
        minute(
          () => 30,
          (second) => 60 + 4 * second,
        ),
      ),
    ).toEqual(['process 1: resident memory grows: 180 MB in the second third, 260 MB in the last'])
  })

  it('must stay within the budget at every moment, also under a fault', () => {
    expect(faults([{ liveMb: 150, rssMb: 500, steady: false }])).toEqual([
      'process 1: live memory of 150 MB, the budget is 112 MB',
      'process 1: resident memory of 500 MB, the budget is 384 MB',
    ])
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
