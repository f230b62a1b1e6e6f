import type { KeyRange } from '../../core/row-reader.ts'

/** Numbers in [0, 1) that a seed brings back (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296
  }
}

/** About that part of the ranges, at least one. */
export function chooseRanges(
  ranges: readonly KeyRange[],
  fraction: number,
  random: () => number,
): readonly KeyRange[] {
  const spare = ranges[Math.floor(random() * ranges.length)]!
  const chosen = ranges.filter(() => random() < fraction)
  return chosen.length > 0 ? chosen : [spare]
}
