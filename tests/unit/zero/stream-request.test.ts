import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { watermarkText } from '../../../src/connectors/sinks/zero/messages.ts'
import { readStreamRequest, readWatermark } from '../../../src/connectors/sinks/zero/stream-request.ts'

const read = (query: string) => readStreamRequest(new URL(`ws://localhost/changes/v0/stream?${query}`))

describe('what zero-cache asks for', () => {
  it('the first time is a snapshot of everything', () => {
    expect(read('appID=zero&shardNum=0')).toEqual({ publications: [], after: null, replicaVersion: null })
  })

  it('later is what comes after its watermark', () => {
    expect(read('lastWatermark=110&replicaVersion=0a')).toEqual({
      publications: [],
      after: 36,
      replicaVersion: 10,
    })
  })

  it('are publications in whatever order, each once', () => {
    expect(read('publications=shop&publications=a%20b&publications=shop').publications).toEqual([
      'a b',
      'shop',
    ])
  })

  it('an empty watermark is none', () => {
    expect(read('lastWatermark=&replicaVersion=')).toMatchObject({ after: null, replicaVersion: null })
  })

  it.each(['x', '05.01', '0/00000001', '01ARZ3NDEKTSV4RRFFQ69G5FAV', '%00', `z${'z'.repeat(36)}`])(
    'a watermark that is none of ours (%s) is unknown, not a snapshot',
    (text) =>
      expect(read(`lastWatermark=${text}&replicaVersion=${text}`)).toMatchObject({
        after: 'unknown',
        replicaVersion: 'unknown',
      }),
  )

  it('watermarks of ours are read as they are written', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (watermark) => {
        expect(readWatermark(watermarkText(watermark))).toBe(watermark)
      }),
    )
  })
})
