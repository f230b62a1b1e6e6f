import { comparePositions, earlier, type SourcePosition } from '../core/position.ts'

/**
 * How far every lane is durable, and what may therefore be stored: the earliest of them (law L1). Positions only ever
 * move forward. Plain and pure; somebody else does the saving.
 */
export class Progress {
  readonly #lanes: (SourcePosition | null)[]
  #durable: SourcePosition | null
  readonly #onAdvance: (position: SourcePosition) => void

  /** `lanes` are the positions that the sinks start with; null for one that has nothing. */
  constructor(lanes: readonly (SourcePosition | null)[], onAdvance: (position: SourcePosition) => void) {
    this.#lanes = [...lanes]
    this.#durable = this.#earliest()
    this.#onAdvance = onAdvance
  }

  /** Everything up to here is durable in every sink; null while some sink has nothing. */
  get durable(): SourcePosition | null {
    return this.#durable
  }

  /** Where a lane is. */
  of(lane: number): SourcePosition | null {
    return this.#lanes[lane] ?? null
  }

  /** A lane is durable up to `position`. One that is not later than what is known is ignored. */
  advance(lane: number, position: SourcePosition): void {
    const known = this.#lanes[lane]
    if (known === undefined) throw new RangeError(`there is no lane ${lane}`)
    if (known !== null && comparePositions(position, known) <= 0) return
    this.#lanes[lane] = position
    const durable = this.#earliest()
    if (durable === null || (this.#durable !== null && comparePositions(durable, this.#durable) <= 0)) return
    this.#durable = durable
    this.#onAdvance(durable)
  }

  #earliest(): SourcePosition | null {
    return this.#lanes.reduce(earlier, this.#lanes[0] ?? null)
  }
}
