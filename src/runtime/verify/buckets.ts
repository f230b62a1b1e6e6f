/**
 * Compares two sets of rows in bounded memory, in whatever order they come: each row falls into a bucket by the hash of
 * its key, and a bucket keeps sums of row hashes. The source's rows are added and the sink's taken away, so a bucket
 * whose rows are equal ends at zero. Two sets that differ are taken for equal with a chance of 2^-64 per bucket.
 */
export class Buckets {
  /** How many there are, a power of two. */
  readonly size: number
  readonly #first: Int32Array
  readonly #second: Int32Array
  /** Rows of either side. */
  readonly #source: Uint32Array
  readonly #sink: Uint32Array
  sourceRows = 0
  sinkRows = 0

  constructor(size: number) {
    this.size = size
    this.#first = new Int32Array(size)
    this.#second = new Int32Array(size)
    this.#source = new Uint32Array(size)
    this.#sink = new Uint32Array(size)
  }

  /** `hash` as `RowHasher` gives it. Assigning to a typed array wraps around. */
  addSource(hash: Int32Array): void {
    const bucket = hash[0]! & (this.size - 1)
    this.#first[bucket]! += hash[2]!
    this.#second[bucket]! += hash[3]!
    this.#source[bucket]!++
    this.sourceRows++
  }

  addSink(hash: Int32Array): void {
    const bucket = hash[0]! & (this.size - 1)
    this.#first[bucket]! -= hash[2]!
    this.#second[bucket]! -= hash[3]!
    this.#sink[bucket]!++
    this.sinkRows++
  }

  /**
   * The buckets whose rows differ, in groups of not much more than `rows` rows of one side; each group marks its buckets
   * with 1.
   */
  *differing(rows: number): Generator<Uint8Array> {
    let group: Uint8Array | null = null
    let held = 0
    for (let bucket = 0; bucket < this.size; bucket++) {
      const source = this.#source[bucket]!
      const sink = this.#sink[bucket]!
      if (source === sink && this.#first[bucket] === 0 && this.#second[bucket] === 0) continue
      group ??= new Uint8Array(this.size)
      group[bucket] = 1
      held += Math.max(source, sink)
      if (held < rows) continue
      yield group
      group = null
      held = 0
    }
    if (group !== null) yield group
  }
}

/** About 16 rows a bucket, within limits: the rows of a bucket that differs are looked at one by one. */
export function bucketsFor(rows: number): number {
  const wanted = Math.ceil(Math.log2(Math.max(1, rows / 16)))
  return 2 ** Math.min(20, Math.max(12, wanted))
}
