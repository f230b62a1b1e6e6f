import { expect, it } from 'vitest'
import { RefusalLog } from '../../../src/connectors/sinks/zero/refusal-log.ts'

it('says each reason once in ten seconds, and how often it was meanwhile', () => {
  const lines: unknown[] = []
  const silent = (): void => {}
  const warn = (message: string, fields: unknown): void => void lines.push([message, fields])
  let now = 1000
  const log = new RefusalLog({ debug: silent, info: silent, error: silent, warn }, () => now)
  for (let round = 0; round < 40; round++) log.refused('wrong token', { status: 401 })
  log.refused('too many', { status: 503 })
  now += 9999
  log.refused('wrong token', { status: 401 })
  now += 1
  log.refused('wrong token', { status: 401 })
  expect(lines).toEqual([
    ['a connection was refused: wrong token', { status: 401, repeated: 0 }],
    ['a connection was refused: too many', { status: 503, repeated: 0 }],
    ['a connection was refused: wrong token', { status: 401, repeated: 40 }],
  ])
  // A clock that was set back does not silence it.
  now = 0
  log.refused('wrong token', { status: 401 })
  expect(lines).toHaveLength(4)
})
