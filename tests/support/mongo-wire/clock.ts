/** The clock of a cluster: the wall clock, unless it is held or moved, and the cluster time that follows from it. */
export class Clock {
  #held: number | null = null
  #moved = 0
  #last = 0n

  /** Milliseconds since 1970. */
  now(): number {
    return this.#held ?? Date.now() + this.#moved
  }

  freeze(at = this.now()): void {
    this.#held = at
  }

  thaw(): void {
    this.#held = null
  }

  /** Moves the clock forward, frozen or not. */
  advance(milliseconds: number): void {
    if (this.#held === null) this.#moved += milliseconds
    else this.#held += milliseconds
  }

  /** The cluster time of the newest entry of the log. */
  get last(): bigint {
    return this.#last
  }

  /** The cluster time of the next entry: greater than all before, even when the wall clock stands still. */
  tick(): bigint {
    const second = BigInt(Math.floor(this.now() / 1000)) << 32n
    this.#last = second > this.#last ? second + 1n : this.#last + 1n
    return this.#last
  }

  /** The first cluster time of the second that lies so many milliseconds back. */
  before(milliseconds: number): bigint {
    return BigInt(Math.max(0, Math.floor((this.now() - milliseconds) / 1000))) << 32n
  }
}
